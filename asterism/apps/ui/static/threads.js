// The list of runs: search in the whole database, filter, delete.
import { api, query, send } from "./api.js";
import { $, el, sync } from "./dom.js";
import { drawHome } from "./home.js";
import { ago, dayOf, mark, word } from "./words.js";

let found = [], before = null, total = 0, open = null, asked = 0;
const FAILED = ["failed", "limit", "stalled", "damaged"];

// Asks for the latest runs, and marks the one that is open.
export async function threads(thread) {
  open = thread;
  await list();
}

// A search goes on until a page is full or everything has been read; words typed meanwhile end it.
async function list(more = "") {
  const mine = ++asked, words = $("search").value.trim(), status = $("filter").value;
  let kept = more ? found : [], page;
  try {
    do {
      page = await api("threads", { words, status, before: more });
      if (mine !== asked) return;
      more = page.before;
      kept = [...kept, ...page.runs.filter(({ thread }) => !kept.some((one) => one.thread === thread))];
      [found, before, total] = [kept, more, page.total];
      show(words || status);
    } while (before && kept.length < 50);
    if (!words && !status) drawHome(found, await asking());
  } catch { show(words || status); }
}

// Those that wait for a person, among the latest runs.
async function asking() {
  const runs = [];
  for (let calls = 0, before = ""; calls < 5 && before !== null; calls++) {
    const page = await api("threads", { status: "waiting", before });
    runs.push(...page.runs);
    before = page.before;
  }
  return runs;
}

function show(narrowed) {
  let last = "";
  const waits = (one) => Number(one.status === "waiting");
  const rows = [...found].sort((one, other) => waits(other) - waits(one)).map((one) => {
    const day = one.status === "waiting" ? "Needs you" : dayOf(one.when), first = day !== last;
    last = day;
    return { ...one, here: one.thread === open, day: first ? day : "" };
  });
  sync($("threads"), rows, (one) => one.thread, (one) => el("li", {}, one.day ? el("h3", { class: "day" }, one.day) : "",
    el("a", { href: `#${query({ thread: one.thread })}`, "aria-current": one.here ? "page" : null },
      el("span", {}, one.title || one.request || one.thread),
      el("small", { title: one.when }, [`${one.failures && one.status === "completed" ? "!" : mark(one.status)} ${word(one.status)}`,
        one.failures ? `${one.failures} failed` : "", one.graph.split(":").at(-1), ago(one.when)].filter(Boolean).join(" · ")))));
  const count = (wanted) => found.filter(wanted).length;
  const running = count((one) => one.status === "running"), finished = count((one) => one.status === "completed");
  const failed = count((one) => FAILED.includes(one.status) || (one.status === "completed" && one.failures));
  $("counts").textContent = found.length && !narrowed ? `${running} running · ${finished} finished · ${failed} failed` : "";
  $("counts").title = `Of the ${found.length} latest of ${total} runs; failed are also those in which somebody failed`;
  $("total").textContent = total || "";
  $("more").hidden = !before;
  $("none").hidden = rows.length > 0 || Boolean(before);
  $("none").textContent = total ? "No run matches." : "No runs yet";
}

export function remove(thread) {
  if (!confirm("Delete this run with everything that is stored of it? This cannot be undone.")) return;
  send($("delete").parentNode, async () => {
    await api("delete", { thread });
    location.hash = "";
    $("request").focus();
  });
}

let late = 0;
$("search").oninput = () => { clearTimeout(late); late = setTimeout(list, 200); };
$("filter").onchange = () => list();
$("more").onclick = () => list(before);
