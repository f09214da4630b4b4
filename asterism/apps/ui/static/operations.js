// Operations: the queue, the workers and their runs, where the database has them.
import { api, query, send } from "./api.js";
import { $, el, sync } from "./dom.js";
import { look, mark, money, word } from "./words.js";

const LEASE = 30;
let timer = 0;

export function showOperations(shown) {
  clearTimeout(timer);
  $("operations").hidden = !shown;
  if (shown) send($("operations"), refresh);
}

async function refresh() {
  const found = await api("operations");
  $("no-queue").hidden = !found.said;
  $("no-queue").textContent = found.said ?? "";
  $("queue").hidden = Boolean(found.said);
  if (found.said || $("operations").hidden) return;
  const { todo = 0, doing = 0, paused = 0, failed = 0 } = found.counts;
  const counts = { Queued: todo, Running: doing, Paused: paused, "Needs you": found.questions, Failed: failed, Workers: found.workers.length };
  sync($("queue-counts"), Object.entries(counts), ([name]) => name, ([name, value]) => el("div", { class: "card" }, el("dt", {}, name), el("dd", {}, String(value))));
  table("workers", found.workers, "No worker is known to this database.", (one) => one.id, (one) => {
    const silent = one.silent_seconds > LEASE;
    return [String(one.id), el("strong", { class: `badge ${silent ? "bad" : "ok"}` }, silent ? "! Silent" : "✓ Healthy"), String(one.runs), `${one.silent_seconds.toFixed(0)} s ago`];
  });
  const jobs = ["running", "waiting", "paused", "failed"].flatMap((state) => found[state].map((job) => ({ ...job, state })));
  table("jobs", jobs, "Nothing waits or runs.", (one) => one.id, (one) => [link(one.thread), badge(one.state === "waiting" ? "queued" : one.state), one.graph, String(one.priority), String(one.tries), one.why ?? "", actions(one.thread, one.state)]);
  table("children", found.children, "No run of a worker yet.", (one) => one.thread, (one) => [link(one.thread), badge(one.status), one.name, Number(one.tokens).toLocaleString("en"), money(one.cost_usd), String(one.restarts), one.reason]);
  timer = setTimeout(() => send($("operations"), refresh), 2000);
}

function table(id, rows, none, key, cells) {
  sync($(id), rows.length ? rows : [{ none }], (one) => (one.none ? "none" : key(one)), (one) => el("tr", {}, one.none ? el("td", { colspan: 9, class: "quiet" }, none) : cells(one).map((cell) => el("td", {}, cell))));
}

const link = (thread) => el("a", { href: `#${query({ thread })}` }, el("code", {}, thread));
const badge = (state) => el("strong", { class: `badge ${look(state)}` }, `${mark(state)} ${word(state)}`);

function actions(thread, state) {
  const steer = (action, label, look = "") => el("button", { type: "button", class: `small ${look}`, "aria-label": `${label} ${thread}`,
    onclick: () => (action !== "kill" || confirm(`Kill the run ${thread}? What it has stored stays.`)) && send($("operations"), async () => { await api("operations", { thread, action }); await refresh(); }) }, label);
  if (state === "failed") return "";
  return el("span", { class: "actions" }, state === "paused" ? steer("resume", "Resume") : steer("pause", "Pause"), steer("kill", "Kill", "danger"));
}
