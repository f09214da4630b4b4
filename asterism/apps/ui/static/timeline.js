// The timeline: a lane for each participant; waiting for a person is cut out of the scale.
import { $, svg } from "./dom.js";
import { span as spell } from "./words.js";

const LEFT = 92, WIDE = 172, HIGH = 24;

export function drawTimeline({ visits, decisions }) {
  const bars = [...decisions.filter((one) => one.began && one.ended).map((one) => bar("supervisor", one, "idle")), ...visits.filter((one) => one.began).map(visited)];
  const waits = bars.flatMap((one) => one.waits).concat(decisions.flatMap((one, place) => {
    const next = decisions[place + 1];
    return one.asks && one.ended && next?.began ? [[Date.parse(one.ended), Date.parse(next.began)]] : [];
  }));
  $("timeline-card").hidden = !bars.length;
  if (!bars.length) return;
  const zero = Math.min(...bars.map((one) => one.from));
  const cut = (at) => at - zero - waits.reduce((sum, [from, to]) => sum + Math.max(0, Math.min(at, to) - from), 0);
  const whole = Math.max(1, ...bars.map((one) => cut(one.to))), scale = (at) => LEFT + (cut(at) / whole) * WIDE;
  const lanes = [...new Set(bars.map((one) => one.lane))];
  const took = (name) => bars.filter((one) => one.lane === name).reduce((sum, one) => sum + cut(one.to) - cut(one.from), 0);
  const waited = waits.reduce((sum, [from, to]) => sum + to - from, 0);
  $("timeline").setAttribute("viewBox", `0 0 312 ${lanes.length * HIGH + 18}`);
  $("timeline").setAttribute("aria-label", lanes.map((name) => `${name} ${span(took(name))}`).join(", "));
  $("timeline").replaceChildren(...lanes.flatMap((name, row) => [
    svg("text", { x: 0, y: row * HIGH + 16, class: "lane" }, name.length > 13 ? `${name.slice(0, 12)}…` : name),
    ...bars.filter((one) => one.lane === name).map((one) => svg("rect", { x: scale(one.from), y: row * HIGH + 5, height: 14, rx: 3,
      width: Math.max(3, scale(one.to) - scale(one.from)), class: `bar ${one.state}`, onclick: () => reveal(one.place) }, svg("title", {}, `${name}: ${span(cut(one.to) - cut(one.from))}`))),
    svg("text", { x: 312, y: row * HIGH + 16, class: "axis end" }, span(took(name)))]),
  ...[0, 0.5, 1].map((part) => svg("text", { x: LEFT + part * WIDE, y: lanes.length * HIGH + 14, class: `axis ${part ? "middle" : ""}` }, span(part * whole))));
  $("waited").textContent = waited > 1000 ? `Waiting for you is left out: ${span(waited)}` : "";
}

// A visit that asked is drawn with what its models took; the rest of it was waiting.
function visited(one, place) {
  const shown = { ...bar(one.participant, one, one.status === "ok" ? "ok" : one.status === "running" ? "working" : one.status === "waiting" ? "waiting" : "failed"), place };
  const asked = one.questions.length > 0, work = Math.max(1000, one.usage.seconds * 1000);
  if (asked && shown.to - shown.from > work) shown.waits = [[shown.from + work, shown.to]];
  return shown;
}

const bar = (lane, one, state) => ({ lane, state, from: Date.parse(one.began), to: Date.parse(one.ended ?? new Date().toISOString()), waits: [] });
const span = (milliseconds) => spell(Math.max(0, milliseconds) / 1000);

function reveal(place) {
  const box = $("visits").children[place]?.querySelector("details");
  if (!box) return;
  box.open = true;
  box.firstChild.focus();
}
