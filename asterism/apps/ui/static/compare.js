// Two steps of a run side by side: what was decided and reported, and how it ended, word by word.
import { api, query } from "./api.js";
import { $, el } from "./dom.js";
import { money } from "./words.js";

export async function compare(thread, a, b) {
  const found = await api(`compare?${query({ thread, a, b })}`);
  const parts = [["Answer", found.ends], ["Decisions", found.decisions], ["Reports", found.reports]].filter(([, changes]) => changes.length);
  const by = (number) => `${number < 0 ? "−" : "+"}${Math.abs(number).toLocaleString("en")}`;
  $("compare").replaceChildren(el("div", { class: "head" }, el("h2", { tabindex: -1 }, "This step and the latest one"),
    el("small", {}, `${by(found.tokens)} tokens · ${Number(found.cost_usd) < 0 ? "−" : "+"}${money(Math.abs(found.cost_usd))}`)),
  el("div", { class: "inside" }, parts.length ? parts.map(([name, changes]) => el("details", { open: changes.length < 4 }, el("summary", {}, el("h3", {}, `${name} (${changes.length})`)), changes.map(change))) : el("p", { class: "quiet" }, "They do not differ.")));
  $("compare").hidden = false;
  $("compare").querySelector("h2").focus();
}

function change({ where, before, after }) {
  const [old, now] = before !== null && after !== null ? words(before, after) : [[[before, true]], [[after, true]]];
  const shown = (name, side, tag) => el("p", {}, el("strong", { class: "quiet" }, `${name}: `), side.map(([text, same]) => text === null ? el("em", {}, "nothing") : same ? text : el(tag, {}, text)));
  return el("div", { class: "change" }, el("h4", {}, where), shown("This step", old, "del"), shown("Latest", now, "ins"));
}

// The longest words that two texts share, in their order; long texts are compared by their ends only.
function words(before, after) {
  const a = before.match(/\s+|[^\s]+/g) ?? [], b = after.match(/\s+|[^\s]+/g) ?? [];
  let first = 0, last = 0;
  while (first < a.length && first < b.length && a[first] === b[first]) first++;
  while (last < a.length - first && last < b.length - first && a.at(-1 - last) === b.at(-1 - last)) last++;
  const x = a.slice(first, a.length - last), y = b.slice(first, b.length - last);
  const kept = x.length * y.length < 1e6 ? shared(x, y) : [new Set(), new Set()];
  const mark = (all, place) => all.map((text, at) => [text, at < first || at >= all.length - last || kept[place].has(at - first) || !text.trim()]);
  return [mark(a, 0), mark(b, 1)];
}

function shared(x, y) {
  const table = Array.from({ length: x.length + 1 }, () => new Uint32Array(y.length + 1));
  for (let i = x.length - 1; i >= 0; i--) for (let j = y.length - 1; j >= 0; j--) table[i][j] = x[i] === y[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
  const left = new Set(), right = new Set();
  for (let i = 0, j = 0; i < x.length && j < y.length;) {
    if (x[i] === y[j]) { left.add(i++); right.add(j++); } else if (table[i + 1][j] >= table[i][j + 1]) i++; else j++;
  }
  return [left, right];
}
