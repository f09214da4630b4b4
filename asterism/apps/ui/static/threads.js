// The list of runs: search, filter, delete.
import { api, query, send } from "./api.js";
import { $, el, sync } from "./dom.js";
import { mark, word } from "./words.js";

let found = [], open = null;

// Asks for the runs, and marks the one that is open.
export async function threads(thread) {
  open = thread;
  found = await api("threads").catch(() => found);
  if (open === thread) show();
}

function show() {
  const wanted = $("search").value.trim().toLowerCase(), status = $("filter").value;
  const rows = found.map((one) => ({ ...one, state: one.driven ? "running" : one.status, here: one.thread === open }));
  const kept = rows.filter((one) => (!status || one.state === status || (status === "failed" && ["limit", "stalled"].includes(one.state)))
    && [one.request, one.thread, one.graph].some((text) => text.toLowerCase().includes(wanted)));
  sync($("threads"), kept, (one) => one.thread, (one) => el("li", {},
    el("a", { href: `#${query({ thread: one.thread })}`, "aria-current": one.here ? "page" : null },
      el("span", {}, one.request || one.thread), el("small", {}, `${mark(one.state)} ${word(one.state)} · ${one.when.slice(5)} · ${one.graph.split(":").at(-1)}`))));
  $("none").hidden = kept.length > 0;
  $("none").textContent = found.length ? "No run matches." : "No runs yet";
}

export function remove(thread) {
  if (!confirm("Delete this run with everything that is stored of it? This cannot be undone.")) return;
  send($("delete").parentNode, async () => {
    await api("delete", { thread });
    location.hash = "";
    $("request").focus();
  });
}

$("search").oninput = show;
$("filter").onchange = show;
