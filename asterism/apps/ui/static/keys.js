// Shortcuts, their list, and the theme. No key acts while somebody types, and none spends money.
import { $, el } from "./dom.js";

const LIST = [["N", "New run"], ["/", "Search runs"], ["G then H", "Home"], ["G then O", "Operations"], ["J or K", "Next or previous run"],
  ["[ or ]", "Previous or next step"], ["L", "Return to latest"], ["S", "Stop after the current step"], ["C", "Copy the answer"],
  ["A, E, R", "Move to Approve, Edit, Reject or Retry"], ["Ctrl/⌘ + Enter", "Send the form you are in"], ["Esc", "Close, leave the field"], ["?", "This list"]];
let waiting = 0;

const press = (selector) => [...document.querySelectorAll(selector)].find((one) => one.checkVisibility() && !one.disabled)?.click();
const focus = (selector) => [...document.querySelectorAll(selector)].find((one) => one.checkVisibility() && !one.disabled)?.focus();
const isOff = () => { try { return localStorage.keys === "off"; } catch { return false; } };

function move(selector, current, by, act) {
  const all = [...document.querySelectorAll(selector)], here = all.findIndex(current);
  const next = all[Math.min(all.length - 1, Math.max(0, here + by))];
  if (next) act(next);
}

const toRun = (by) => move("#threads a", (one) => one === document.activeElement, by, (one) => one.focus());
const toStep = (by) => move("#steps button", (one) => one.hasAttribute("aria-current"), by, (one) => one.click());
const ACTS = {
  n: () => { location.hash = ""; $("request").focus(); }, "/": () => $("search").focus(), g: () => (waiting = Date.now()),
  j: () => toRun(1), k: () => toRun(-1), "[": () => toStep(-1), "]": () => toStep(1), l: () => press("#now"), s: () => press("#stop"),
  c: () => press("#answer .foot button"), a: () => focus("#questions [data-kind=approve], #questions [data-kind=edit]"),
  e: () => focus("#questions .edit"), r: () => focus("#questions [data-kind=reject], #failures button"), "?": () => $("keys").showModal(),
};
const AFTER_G = { h: () => (location.hash = ""), o: () => (location.hash = "operations") };

addEventListener("keydown", (event) => {
  const typing = event.target.matches?.("input:not([type=radio], [type=checkbox]), textarea, select");
  if (event.key === "Escape" && typing) event.target.blur();
  if (typing || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || $("keys").open || isOff()) return;
  const key = event.key.toLowerCase(), after = Date.now() - waiting < 1500;
  waiting = 0;
  const act = (after && AFTER_G[key]) || ACTS[key];
  if (!act) return;
  event.preventDefault();
  act();
});

$("keys-list").append(...LIST.map(([key, what]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, what)]).flat());
$("keys-off").checked = isOff();
$("keys-off").onchange = () => { localStorage.keys = $("keys-off").checked ? "off" : "on"; };
$("keys-open").onclick = () => $("keys").showModal();

function showTheme() { $("theme").textContent = `Theme: ${readTheme().replace(/^./, (first) => first.toUpperCase())}`; }
$("theme").onclick = () => { setTheme(THEMES[(THEMES.indexOf(readTheme()) + 1) % THEMES.length]); showTheme(); };
showTheme();
