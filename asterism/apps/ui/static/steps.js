// The steps of a run: a list that leads back to any of them, and a form that decides differently there.
import { api, query } from "./api.js";
import { $, el, sync } from "./dom.js";
import { duration } from "./words.js";

let steps = [], chosen = null, first = "";

export const stepCount = () => steps.length;
export const placeOf = (checkpoint) => steps.findIndex((one) => one.checkpoint === checkpoint);
export const latest = () => steps.at(-1)?.checkpoint;
export const isLatest = (checkpoint) => placeOf(checkpoint) === steps.length - 1;

export async function loadSteps(thread) {
  const found = await api(`history?${query({ thread })}`);
  return () => { steps = found; };
}

export function clearSteps() { steps = []; $("steps").replaceChildren(); $("steps-facts").textContent = ""; $("fork").hidden = true; }

export function drawSteps(past, travel) {
  const here = past ?? steps.at(-1)?.checkpoint;
  const rows = steps.map((one, place) => ({ ...one, place, here: one.checkpoint === here, since: duration(steps[0].at, one.at) }));
  sync($("steps"), rows, (one) => one.checkpoint, (one, old) => {
    const kept = old?.contains(document.activeElement);
    const button = el("button", { type: "button", "aria-current": one.here ? "step" : null, class: one.branch ? "" : "off", onclick: () => travel(one.checkpoint) },
      el("span", { class: "mark" }, one.here ? "●" : "○"), el("span", {}, one.label, one.edited ? el("em", {}, " edited") : "", one.branch ? "" : el("em", {}, " other branch")), el("small", {}, one.since));
    if (kept) queueMicrotask(() => button.focus());
    return el("li", {}, button);
  });
  $("steps-facts").textContent = steps.length ? `${steps.length}` : "";
}

// ---- another decision

const NAMES = { ask: "to ask you", finish: "to finish", plan: "a plan of several tasks", undo: "to undo work" };

export function offerFork(checkpoint, shown, driven) {
  const one = steps[placeOf(checkpoint)];
  chosen = checkpoint;
  $("fork").hidden = !one?.forks || driven;
  if ($("fork").hidden) return;
  const decided = one.decision, kind = decided?.kind;
  const names = shown.participants.map((participant) => participant.id);
  $("fork-next").replaceChildren(el("option", { value: "" }, "Choose…"), ...names.map((name) => el("option", { value: `to ${name}` }, name)),
    el("option", { value: "ask" }, "ask me"), el("option", { value: "end" }, "nobody: finish"));
  $("fork-next").value = kind === "visit" && names.includes(decided.next_agent) ? `to ${decided.next_agent}` : { ask: "ask", finish: "end" }[kind] ?? "";
  $("fork-words").value = (kind === "ask" ? decided.user_prompt : decided?.instruction) ?? "";
  $("fork-chosen").textContent = decided ? `The supervisor chose ${kind === "visit" ? decided.next_agent : NAMES[kind] ?? kind} next. ` : "Nothing was decided here yet. ";
  first = written();
  check();
}

const written = () => JSON.stringify([$("fork-next").value, $("fork-next").value === "end" ? "" : $("fork-words").value.trim()]);

function check() {
  const next = $("fork-next").value;
  $("fork-words-label").textContent = next === "ask" ? "Question" : "Instruction";
  $("fork-words-label").hidden = $("fork-words").hidden = next === "end";
  $("fork-send").disabled = !next || written() === first;
}

export function sendFork(thread) {
  const next = $("fork-next").value, words = $("fork-words").value.trim() || null;
  const decision = next === "ask" ? { user_input_needed: true, user_prompt: words }
    : next === "end" ? { next_agent: null } : { next_agent: next.slice(3), instruction: words };
  return api("fork", { thread, checkpoint: chosen, decision });
}

$("fork-next").onchange = check;
$("fork-words").oninput = check;
