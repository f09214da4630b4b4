// A run as it is shown: the answer first, then the visits, the team, the conversation.
import { api, query, send } from "./api.js";
import { $, el, sync } from "./dom.js";
import { copyButton, prose } from "./prose.js";
import { drawStar, glyph } from "./star.js";
import { cost, duration, failed, money, tokens } from "./words.js";

export function answerOf(shown) {
  const place = shown.messages.findLastIndex((message) => message.type === "human");
  const after = shown.messages.slice(place + 1);
  return after.findLast((message) => message.kind === "answer" || (!shown.participants.length && message.type === "ai" && message.text)) ?? null;
}

export function drawAnswer(shown, ended) {
  const answer = answerOf(shown), failures = shown.reports.filter(failed);
  const missing = failures.length ? `${failures.map((one) => one.participant).join(", ")} did not report, so this answer may be incomplete.` : "";
  const found = answer ? [{ ...answer, missing, files: shown.reports.flatMap((one) => one.files) }] : ended ? [{ id: "none", missing }] : [];
  sync($("answer"), found, (one) => one.id, (one) => el("div", {},
    el("h2", { class: "sr" }, "Answer"), one.missing ? el("p", { class: "warning" }, one.missing) : "",
    one.blocks ? prose(one.blocks) : el("p", { class: "quiet" }, "There is no answer."),
    one.blocks ? el("div", { class: "buttons foot" }, copyButton("Copy", () => one.text), one.files.map(download)) : ""));
  $("answer").hidden = !found.length;
}

// What failed, with a way to run only that again.
export function drawFailures(shown, details, running, retry, change) {
  const rows = shown.reports.filter((one) => failed(one) && !one.task).map((one) => ({ ...one, detail: details.get(one.id) ?? null, running }));
  sync($("failures"), rows, (one) => one.id, (one) => el("section", { class: "card failure", "aria-label": `${one.participant} failed` },
    el("h2", {}, `! ${one.participant} failed`, el("small", {}, ` ${[one.attempts > 1 ? `${one.attempts} attempts` : "", duration(one.detail?.began, one.detail?.ended)].filter(Boolean).join(" · ")}`)),
    el("p", {}, one.error ?? one.text),
    one.detail?.traceback ? el("details", {}, el("summary", {}, "Traceback"), el("pre", { class: "result", tabindex: 0 }, one.detail.traceback)) : "",
    one.detail?.checkpoint && !running ? el("div", { class: "buttons" }, el("button", { type: "button", class: "primary", onclick: (event) => retry(event.target.parentNode, one.detail.checkpoint) }, `Retry ${one.participant}`),
      el("button", { type: "button", onclick: () => change(one.detail.checkpoint) }, "Retry with changes"),
      el("small", {}, `Finished work is kept; ${one.participant} runs again, and what follows.`)) : ""));
}

export function drawLive(shown, live) {
  const working = Object.entries(live?.working ?? {});
  sync($("live"), working, ([who]) => who, ([who, work]) => el("li", {},
    el("p", { class: "by" }, el("span", { class: "mark" }, glyph("working")), ` ${who} ${work.doing}`), work.blocks.length ? prose(work.blocks) : ""));
  $("live-card").hidden = !working.length;
}

// ---- visits

export function drawVisits(shown, live, details) {
  const reports = shown.reports.map((report) => ({ ...report, detail: details.get(report.id) ?? null }));
  const open = shown.questions.map((one) => one.path.split("/")[0]).filter(Boolean).map((participant) => ({ participant, status: "waiting" }));
  const working = Object.keys(live?.working ?? {}).filter((who) => who !== "supervisor").map((participant) => ({ participant, status: "running" }));
  const rows = [...reports, ...open, ...working].map((row, place) => ({ ...row, place }));
  sync($("visits"), rows, (row) => row.place, (row, old) => el("li", {}, visit(row, old?.firstChild)));
  const calls = reports.reduce((sum, row) => sum + (row.detail?.tools.length ?? 0), 0);
  $("visits-facts").textContent = [count(reports.length, "visit"), count(shown.iterations, "decision"), calls ? count(calls, "tool call") : ""].filter(Boolean).join(" · ");
  $("visits-card").hidden = !rows.length;
}

const count = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;
const STATES = { running: "working", waiting: "waiting", ok: "ok", pending: "planned", skipped: "idle" };

function visit(row, old) {
  const state = STATES[row.status] ?? "failed", detail = row.detail ?? row;
  const figures = [row.status === "ok" ? "" : row.status === "waiting" ? "needs you" : row.status, duration(detail.began, detail.ended),
    row.usage?.tokens ? `${tokens(row.usage)} tokens` : "", row.usage?.calls ? cost(row.usage) : ""].filter(Boolean);
  const line = row.error || firstLine(row.blocks) || (row.text ?? "").split("\n")[0];
  const head = [el("span", { class: "mark" }, glyph(state)), el("strong", {}, row.participant, row.task ? el("small", {}, ` ${row.task}`) : ""), el("span", { class: "what" }, line), el("span", { class: "figures" }, figures.join(" · "))];
  const inside = [detail.instruction ? el("p", { class: "quiet" }, "Instruction: ", detail.instruction) : "",
    row.attempts > 1 ? el("p", { class: "quiet" }, `${row.attempts} attempts`) : "",
    row.error ? el("p", { class: "fault" }, row.error) : "", row.traceback ? el("pre", { class: "result", tabindex: 0 }, row.traceback) : "",
    (detail.tools ?? []).map(tool), (detail.inside ?? []).map((inner) => visit({ ...inner, usage: usageOf(inner.usage) })),
    row.blocks?.length ? prose(row.blocks) : row.text ? el("p", {}, row.text) : "",
    row.blocks?.length ? el("div", { class: "buttons foot" }, copyButton("Copy", () => row.text), (row.files ?? []).map(download)) : ""];
  if (!inside.flat(Infinity).some(Boolean)) return el("div", { class: `row ${state}` }, head);
  return el("details", { class: `visit ${state}`, open: old?.open }, el("summary", { class: `row ${state}` }, head), el("div", { class: "inside" }, inside));
}

// The first words of a text, without its marks.
function firstLine(blocks) {
  const words = (node) => typeof node === "string" ? node : node.tag === "tr" ? `${node.children.map(words).join(" ")} ` : node.children.map(words).join("");
  return (blocks ?? []).map(words).join(" ").trim().split("\n")[0].slice(0, 200);
}

const usageOf = (usage) => ({ ...usage, tokens: usage.input_tokens + usage.output_tokens, unknown: usage.unknown_prices });

function tool(call) {
  const state = call.ok === null ? "no result yet" : call.ok ? "" : "failed", paid = Number(call.cost_usd) ? money(call.cost_usd) : "";
  return el("details", { class: `tool ${call.ok === false ? "failed" : ""}` },
    el("summary", {}, el("code", {}, `${call.name}(${call.arguments.slice(0, 120)})`), " ", el("small", {}, [state, paid].filter(Boolean).join(" · ")),
      call.result ? el("span", { class: "what" }, `→ ${call.result.split("\n")[0].slice(0, 160)}`) : ""),
    el("h4", {}, "Arguments"), el("pre", { class: "result", tabindex: 0 }, indented(call.arguments)),
    el("h4", {}, "Result"), el("pre", { class: "result", tabindex: 0 }, indented(call.result) || "(nothing)"));
}

function indented(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

const download = (file) => el("a", { class: "file", download: file.name, href: `data:text/plain;charset=utf-8,${encodeURIComponent(file.text)}` }, `↓ ${file.name}`);

// ---- the team

export function drawTeam(shown, live) {
  const working = live?.working ?? {}, planned = new Set(shown.tasks.map((task) => task.agent_id));
  const last = shown.messages.findLast((message) => message.kind === "report" || message.kind === "decision");
  const asks = shown.questions.map((one) => one.path.split("/")[0]);
  const team = shown.participants.map((one) => {
    const state = working[one.id] ? "working" : asks.includes(one.id) ? "waiting" : one.status ?? (planned.has(one.id) ? "planned" : "idle");
    const answered = working.supervisor && last?.kind === "report" && last.name === one.id;
    return { id: one.id, state, visits: one.visits, flow: state === "working" || state === "waiting" ? "out" : answered ? "in" : "" };
  });
  const you = { id: "you", state: asks.length ? "waiting" : "idle", flow: asks.includes("") ? "out" : "" };
  const described = team.map((one) => `${one.id} ${one.state}, visited ${one.visits} times`).join("; ");
  drawStar([...team, you], working.supervisor ? "working" : "idle", `Supervisor with ${described}`, reveal);
  const rows = shown.participants.map((one, place) => ({ ...one, state: team[place].state, doing: working[one.id]?.doing ?? "", thread: shown.thread }));
  sync($("team"), rows, (one) => one.id, participant);
}

function reveal(name) {
  const box = [...$("team").children].find((child) => child.dataset.key === name);
  box.open = true;
  box.firstChild.focus();
}

function participant(one, old) {
  const memory = old?.querySelector(".memory") ?? el("div", { class: "memory" });
  const remember = async () => {
    const found = await api(`memory?${query({ thread: one.thread, participant: one.id })}`);
    memory.replaceChildren(found.length ? el("ol", { class: "talk" }, found.map(remembered)) : el("p", { class: "quiet" }, "No memory yet"));
  };
  const state = one.state === "waiting" ? "needs you" : one.doing || one.state;
  const spent = one.visits ? `${count(one.visits, "visit")} · ${tokens(one.usage)} tokens` : "";
  return el("details", { class: `who ${one.state}`, open: old?.open },
    el("summary", {}, el("span", { class: "mark" }, glyph(one.state)), " ", el("strong", {}, one.id), " ", el("small", {}, [state, spent].filter(Boolean).join(" · "))),
    el("p", { class: "quiet" }, one.description),
    el("button", { type: "button", class: "small", onclick: (event) => send(event.target.parentNode, remember) }, "Memory"), memory);
}

const WHO = { human: "request", ai: "answer", tool: "tool", system: "system" };
const remembered = (message) => el("li", { class: message.type }, el("span", { class: "by" }, message.type === "tool" ? message.name : WHO[message.type] ?? message.type),
  prose(message.blocks), message.calls.map((call) => el("code", { class: "call" }, `${call.name}(${JSON.stringify(call.args)})`)));

export function drawMeters(usage, decisions) {
  const found = { Decisions: decisions, "Model calls": usage.calls, Tokens: tokens(usage), Cost: cost(usage) };
  sync($("meters"), Object.entries(found), ([name]) => name, ([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value))));
}

// ---- the conversation

const VERBS = { report: "reports", question: "asks", answer: "answers", decision: "sends" };

let older = [], last = null; // messages before those of the view, once they were asked for

export function clearTalk() { [older, last] = [[], null]; $("older").replaceChildren(); }

export function drawTalk(shown) {
  if (older.length && shown.earlier > last.earlier) { // the latest ones moved on: what left the view joins the older ones
    const moved = last.messages.slice(0, shown.earlier - last.earlier);
    older.push(...moved);
    $("older").append(...moved.map(spoken));
  }
  last = shown;
  const left = shown.earlier - older.length;
  $("earlier").hidden = left <= 0;
  $("earlier").textContent = `Show earlier (${left.toLocaleString("en")})`;
  sync($("talk"), shown.messages, (message) => message.id, spoken);
}

export async function showEarlier(thread, checkpoint) {
  const asked = last;
  const found = await api(`messages?${query({ thread, before: last.earlier - older.length, ...(checkpoint ? { checkpoint } : {}) })}`);
  if (asked.thread !== last?.thread) return;
  older.unshift(...found.messages);
  $("older").prepend(...found.messages.map(spoken));
  drawTalk(last);
}

const spoken = (one) => el("li", { class: one.kind }, el("span", { class: "by" }, [one.name, VERBS[one.kind]].filter(Boolean).join(" ")), prose(one.blocks));
