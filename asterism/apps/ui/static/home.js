// The first screen: a request to a team, what needs a person, the teams, the latest runs.
import { api, onSubmit, query } from "./api.js";
import { $, el, sync } from "./dom.js";
import { ago, look, mark, money, word } from "./words.js";

let graphs = [];
export const title = (name) => String(name).split(":").at(-1).replaceAll("_", " ").replace(/^./, (first) => first.toUpperCase());

export async function loadTeams() {
  ({ graphs } = await api("graphs"));
  $("graph").replaceChildren(...graphs.map((graph) => el("option", { value: graph.name }, title(graph.name))));
  $("teams").replaceChildren(...graphs.map(team), el("li", { class: "card own" }, el("h3", {}, "+ Add your own team"),
    el("p", { class: "quiet" }, "Start the page with a builder, a compiled graph or a function."), el("code", {}, "asterism ui --graph my_team:builder")));
  chosen();
}

function team(graph) {
  const choose = () => { $("graph").value = graph.name; chosen(); $("request").value = graph.example; $("request").focus(); };
  return el("li", { class: "card" }, el("h3", { title: graph.name }, title(graph.name)), el("p", { class: "quiet" }, graph.description || `Your graph · ${graph.name}`),
    el("p", { class: "chips" }, graph.participants.map((name) => el("span", {}, name))),
    el("button", { type: "button", class: "example", onclick: choose }, "› ", graph.example || `Ask ${title(graph.name)}`));
}

function chosen() {
  const graph = graphs.find((one) => one.name === $("graph").value);
  $("model").textContent = models(graph);
  $("model").hidden = !$("model").textContent;
}

export const models = ({ models }) => models.map((name) => (name === "offline" ? "offline model: fixed rules" : name)).join(", ");

// What needs a person, and the latest runs.
export function drawHome(runs, asking) {
  $("attention").hidden = !asking.length;
  sync($("asking"), asking, (one) => one.thread, (one) => el("li", {}, el("span", { class: "mark" }, "?"),
    el("a", { href: `#${query({ thread: one.thread })}` }, one.request || one.thread), " ", el("span", {}, one.asks)));
  $("asking-count").textContent = asking.length === 1 ? "1 run needs you." : `${asking.length} runs need you.`;
  $("recent").hidden = !runs.length;
  sync($("recent-rows"), runs.slice(0, 8), (one) => one.thread, (one) => el("tr", {},
    el("td", {}, el("a", { href: `#${query({ thread: one.thread })}` }, one.request || one.thread)),
    el("td", {}, badge(one)), el("td", {}, title(one.graph)), el("td", { class: "right" }, String(one.visits)),
    el("td", { class: "right" }, one.cost_usd === null ? "unknown" : money(one.cost_usd)), el("td", { class: "right", title: one.when }, ago(one.when))));
}

export function badge(one) {
  const failures = one.status === "completed" ? one.failures : 0;
  const said = failures ? `${word(one.status)}, ${failures} failure${failures > 1 ? "s" : ""}` : word(one.status);
  return el("strong", { class: `badge ${failures ? "waiting" : look(one.status)}` }, `${failures ? "!" : mark(one.status)} ${said}`);
}

$("graph").onchange = chosen;
onSubmit($("new"), async () => {
  const begun = await api("run", { graph: $("graph").value, request: $("request").value });
  $("request").value = "";
  location.hash = query({ thread: begun.thread });
});
