// The star: the supervisor in the middle, around it the participants and you.
import { $, svg } from "./dom.js";

const MIDDLE = [180, 153], WIDE = 132, HIGH = 112;
export const GLYPHS = { working: "▶", waiting: "?", ok: "✓", planned: "○", idle: "·" };
export const glyph = (state) => GLYPHS[state] ?? "!";

// `nodes`: {id, state, visits, flow: "out" | "in" | ""}; `chosen` is called with a participant.
export function drawStar(nodes, supervisor, described, chosen) {
  const shape = JSON.stringify([nodes, supervisor]);
  if ($("star").shape === shape) return;
  $("star").shape = shape;
  $("star").setAttribute("aria-label", described);
  const length = nodes.length > 7 ? 9 : 14;
  const places = nodes.map((_, place) => at(place + 1, nodes.length));
  $("star").replaceChildren(
    ...nodes.map((node, place) => edge(node, places[place])),
    ...nodes.map((node, place) => dot(node, places[place], length, chosen)),
    dot({ id: "supervisor", state: supervisor }, MIDDLE, 14),
  );
}

function at(place, count) {
  const angle = Math.PI / 2 + (2 * Math.PI * place) / count;
  return [MIDDLE[0] + WIDE * Math.cos(angle), MIDDLE[1] + HIGH * Math.sin(angle)];
}

function edge(node, [x, y]) {
  const far = Math.hypot(x - MIDDLE[0], y - MIDDLE[1]), [dx, dy] = [(x - MIDDLE[0]) / far, (y - MIDDLE[1]) / far];
  const [from, to] = [[MIDDLE[0] + dx * 30, MIDDLE[1] + dy * 30], [x - dx * 21, y - dy * 21]];
  const line = svg("line", { x1: from[0], y1: from[1], x2: to[0], y2: to[1], class: `edge ${node.visits ? "used" : ""} ${node.flow ? `flow ${node.flow}` : ""}` });
  if (!node.visits) return line;
  const label = svg("text", { x: (from[0] + to[0]) / 2, y: (from[1] + to[1]) / 2 + 4, class: "count" }, `×${node.visits}`);
  return svg("g", {}, line, label);
}

function dot(node, [x, y], length, chosen) {
  const big = node.id === "supervisor", name = node.id.length > length ? `${node.id.slice(0, length - 1)}…` : node.id;
  const clicked = chosen && node.id !== "you" ? () => chosen(node.id) : undefined;
  const pressed = clicked && ((event) => { if (event.key === "Enter") clicked(); });
  const link = clicked ? { onclick: clicked, onkeydown: pressed, tabindex: 0, role: "button", "aria-label": `${node.id}: ${node.state}` } : {};
  return svg("g", { class: `node ${node.state} ${clicked ? "link" : ""}`, ...link },
    svg("title", {}, `${node.id}: ${node.state}`),
    svg("circle", { cx: x, cy: y, r: big ? 25 : 18 }),
    svg("text", { x, y: y + 5, class: "glyph" }, big && node.state === "idle" ? "★" : glyph(node.state)),
    svg("text", { x, y: y + (big ? 41 : y < MIDDLE[1] ? -25 : 34), class: "name" }, name));
}
