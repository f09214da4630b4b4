// The page: which thread is open, what is known of it, what is sent.
import { $, el, sync } from "./dom.js";
import { field } from "./forms.js";
import { prose } from "./prose.js";
import { drawStar, glyph } from "./star.js";

const STATES = { running: "working", waiting: "waiting", completed: "ok" };
let thread = null, stream = null, view = null, live = null;
let past = null, steps = [], late = 0, lost = 0;

// ---- asking the server

async function api(path, body) {
  const sent = body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(`api/${path}`, sent).catch(() => { throw new Error("The server cannot be reached."); });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error.message);
  return answer;
}
const query = (given) => new URLSearchParams(given);

// Sends a form: no second time while it is under way, and a fault is shown beside it.
async function send(form, work, fault = $("fault")) {
  const buttons = [...form.querySelectorAll("button")];
  buttons.forEach((button) => (button.disabled = true));
  fault.hidden = true;
  try { await work(); }
  catch (error) { fault.textContent = error.message; fault.hidden = false; }
  finally { buttons.forEach((button) => (button.disabled = false)); }
}
const onSubmit = (form, work, fault) =>
  form.addEventListener("submit", (event) => { event.preventDefault(); send(form, work, fault); });

function say(text) { if ($("said").textContent !== text) $("said").textContent = text; }

// ---- opening threads

function open() {
  const wanted = query(location.hash.slice(1)).get("thread");
  stream?.close();
  [thread, view, live, past, steps, stream] = [wanted, null, null, null, [], null];
  $("fault").hidden = true;
  $("new").hidden = Boolean(thread);
  $("run").hidden = true;
  if (thread) watch();
  else {
    document.title = "Asterism";
    $("request").focus();
    threads();
  }
}

function watch() {
  stream?.close();
  const source = (stream = new EventSource(`api/events?${query({ thread })}`));
  source.onmessage = (event) => {
    if (source !== stream) return;
    connected();
    const frame = JSON.parse(event.data), first = !view;
    live = frame.live;
    if (frame.view) { tell(view, frame.view); view = frame.view; later(); }
    if (!past) draw(view);
    if (first) $("title").focus();
  };
  source.onopen = connected;
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) missing();
    else lost ||= setTimeout(() => ($("lost").hidden = false), 2000);
  };
}
function connected() { clearTimeout(lost); lost = 0; $("lost").hidden = true; }

function missing() {
  send($("main"), async () => { await api(`thread?${query({ thread })}`); setTimeout(watch, 1000); });
}

// What has changed is said once, in a few words.
function tell(before, now) {
  const asked = now.questions.find((one) => !before?.questions.some((old) => old.id === one.id));
  const said = now.reports.slice(before?.reports.length).map((report) => `${report.participant} has reported: ${report.status}`);
  const moved = !before || standing(now) !== standing(before);
  if (asked) say(`${asked.participant} asks you: ${asked.prompt}`);
  else if (moved) say(`The run: ${standing(now)}`);
  else if (said.length) say(said.join(", "));
  if (moved) threads();
}

function later() {
  clearTimeout(late);
  const wanted = thread;
  late = setTimeout(async () => {
    const found = await api(`history?${query({ thread: wanted })}`).catch(() => null);
    if (found && wanted === thread) { steps = found; drawSteps(); }
  }, 250);
}

async function threads() {
  const found = await api("threads").catch(() => []);
  sync($("threads"), found.map((one) => ({ ...one, here: one.thread === thread })), (one) => one.thread, (one) => {
    const state = one.driven ? "running" : one.status;
    return el("li", {}, el("a", { href: `#${query({ thread: one.thread })}`, "aria-current": one.here ? "page" : null },
      el("span", {}, one.request || one.thread), el("small", {}, `${glyph(STATES[state])} ${state} · ${one.when.slice(5)} · ${one.graph}`)));
  });
  if (!found.length) $("threads").replaceChildren(el("li", { class: "quiet" }, "There is none yet."));
}

// ---- drawing

function standing(shown) {
  if (shown.error && !shown.driven) return "failed";
  if (shown.status === "running" && !shown.driven) return shown.unfinished ? "stopped" : "running";
  return shown.status ?? (shown.driven || shown.unfinished ? "running" : "completed"); // a graph that is no workflow has none
}

function draw(shown) {
  const state = past ? "past" : standing(shown), title = shown.request.split("\n")[0] || shown.thread;
  $("run").hidden = false;
  $("title").textContent = title;
  document.title = `${glyph(STATES[state])} ${state} · ${title}`;
  $("status").textContent = `${glyph(STATES[state] ?? (past ? "idle" : ""))} ${state === "waiting" ? "waits for you" : state}`;
  $("status").className = `badge ${STATES[state] ?? (past || state === "stopped" ? "idle" : "bad")}`;
  $("facts").textContent = [shown.graph, shown.thread, shown.driven === "elsewhere" ? "driven by another process" : ""].filter(Boolean).join(" · ");
  const cut = ["limit", "stalled", "failed"].includes(state);
  $("reason").textContent = past ? "" : shown.error ?? live?.note ?? "";
  if (cut && !$("reason").textContent) $("reason").textContent = shown.reason ?? "";
  $("stop").hidden = past || shown.driven !== "here";
  $("proceed").hidden = past || Boolean(shown.driven) || !(cut || state === "stopped");
  $("again").hidden = past || Boolean(shown.driven) || state === "stopped" || shown.questions.length > 0;
  $("past").hidden = !past;
  drawTeam(shown);
  drawMeters(shown.usage, shown.iterations);
  drawTalk(shown);
  sync($("questions"), past ? [] : shown.questions, (one) => one.id, question);
}

function drawTeam(shown) {
  const working = (!past && live?.working) || {};
  const planned = new Set(shown.tasks.map((task) => task.agent_id));
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
  const rows = shown.participants.map((one, place) => ({
    ...one, state: team[place].state, doing: working[one.id]?.doing ?? "", thread: shown.thread,
    reports: shown.reports.filter((report) => report.participant === one.id),
  }));
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
    memory.replaceChildren(found.length ? el("ol", { class: "talk" }, found.map(remembered)) : el("p", { class: "quiet" }, "It remembers nothing."));
  };
  const state = one.state === "waiting" ? "asks you" : one.doing || one.state;
  const spent = one.visits ? `${one.visits} visit${one.visits > 1 ? "s" : ""} · ${one.usage.tokens.toLocaleString("en")} tokens` : "";
  return el("details", { class: `who ${one.state}`, open: old?.open },
    el("summary", {}, el("span", { class: "mark" }, glyph(one.state)), " ", el("strong", {}, one.id), " ", el("small", {}, [state, spent].filter(Boolean).join(" · "))),
    el("p", { class: "quiet" }, one.description), one.reports.map((it, place) => report(it, place + 1)),
    el("button", { type: "button", onclick: (event) => send(event.target.parentNode, remember) }, `What ${one.id} remembers`), memory);
}

const report = (one, number) => el("article", { class: "visit" }, el("h3", {}, `Visit ${number}: ${one.status}${one.task ? ` (${one.task})` : ""}`),
  one.error ? el("p", { class: "fault" }, one.error) : "", prose(one.blocks), one.files.map(download));

const download = (file) => el("a", { class: "file", download: file.name, href: `data:text/plain;charset=utf-8,${encodeURIComponent(file.text)}` }, `↓ ${file.name}`);

const WHO = { human: "request", ai: "answer", tool: "tool", system: "system" };
const remembered = (message) => el("li", { class: message.type }, el("span", { class: "by" }, message.type === "tool" ? message.name : WHO[message.type] ?? message.type),
  prose(message.blocks), message.calls.map((call) => el("code", { class: "call" }, `${call.name}(${JSON.stringify(call.args)})`)));

function drawMeters(usage, decisions) {
  const cost = usage.unknown.length ? `$${Number(usage.cost_usd).toFixed(4)} + unknown` : `$${Number(usage.cost_usd).toFixed(Number(usage.cost_usd) && Number(usage.cost_usd) < 0.01 ? 5 : 2)}`;
  const found = { Decisions: decisions, Calls: usage.calls, Tokens: (usage.estimated_tokens ? "about " : "") + usage.tokens.toLocaleString("en"), Cost: cost };
  sync($("meters"), Object.entries(found), ([name]) => name, ([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value))));
}

function drawTalk(shown) {
  $("earlier").hidden = !shown.earlier;
  $("earlier").textContent = `${shown.earlier} earlier messages are not shown.`;
  sync($("talk"), shown.messages, (message) => message.id, message);
  sync($("files"), shown.reports.flatMap((one) => one.files), (file) => file.name, download);
  const speaking = past ? [] : Object.entries(live?.working ?? {}).filter(([, work]) => work.text && work.doing.startsWith("writes"));
  sync($("live"), speaking, ([who]) => who, ([who, work]) => el("li", { class: "ai" }, el("span", { class: "by" }, `${who} writes`), prose(work.blocks)));
}

const VERBS = { report: "reports", question: "asks", answer: "answers", decision: "sends" };

function message(one, old) {
  const by = el("span", { class: "by" }, [one.name, VERBS[one.kind]].filter(Boolean).join(" "));
  const [first, ...rest] = one.text.trim().split("\n");
  const line = first.replaceAll("|", " ").trim();
  const short = one.kind === "report" || one.kind === "decision";
  if (!short || !rest.length) return el("li", { class: one.kind }, by, " ", short ? el("p", {}, first) : prose(one.blocks));
  return el("li", { class: one.kind }, el("details", { open: old?.querySelector("details")?.open }, el("summary", {}, by, " ", line), prose(one.blocks)));
}

function question(one) {
  const fault = el("p", { class: "fault", role: "alert", hidden: true });
  const parts = one.calls.length
    ? one.calls.map((call, place) => approval(call, one.schema.properties.decisions.prefixItems[place], place))
    : [field(one.schema, { label: "Your answer" })];
  const read = () => one.calls.length ? { decisions: parts.map((part) => part.read()) } : parts[0].read();
  const form = el("form", { class: "card question" },
    el("h2", {}, `${one.path || "The supervisor"} ${one.calls.length ? "asks for leave" : "asks you"}`),
    one.calls.length ? "" : prose(one.blocks), parts.map((part) => part.node), el("button", { type: "submit" }, "Send the answer"), fault);
  onSubmit(form, () => api("answer", { thread, answers: { [one.id]: read() ?? null } }), fault);
  return form;
}

function approval(call, schema, place) {
  const part = field(schema, { label: `${place + 1}. May ${call.name} be called?`, value: { edited_action: call } });
  const given = Object.entries(call.args ?? {}).map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, typeof value === "string" ? value : JSON.stringify(value))));
  part.node.firstChild.after(el("table", { "aria-label": `Arguments of ${call.name}` }, given));
  return part;
}

// ---- steps, the past, forks

function drawSteps() {
  const place = past ? steps.findIndex((one) => one.checkpoint === past) : steps.length - 1;
  $("scrub").max = Math.max(0, steps.length - 1);
  $("scrub").value = place < 0 ? steps.length - 1 : place;
  drawWhere();
}

function drawWhere() {
  const place = Number($("scrub").value), one = steps[place];
  const text = one ? `Step ${place + 1} of ${steps.length}: ${one.label}${one.edited ? ", edited" : ""}${one.branch ? "" : ", on another branch"}` : "The run as it is now";
  $("where").textContent = text;
  $("scrub").setAttribute("aria-valuetext", text);
  $("fork").hidden = !past || !one?.forks || Boolean(view.driven);
}

async function travel() {
  const place = Number($("scrub").value), wanted = steps[place];
  past = place >= steps.length - 1 ? null : wanted.checkpoint;
  drawWhere();
  $("fork").hidden = true; // until its fields are those of the step
  if (!past) return draw(view);
  const shown = await api(`thread?${query({ thread, checkpoint: past })}`);
  if (past !== wanted.checkpoint) return;
  const names = shown.participants.map((one) => one.id), next = shown.decision.next_agent;
  $("fork-next").replaceChildren(...names.map((name) => el("option", { value: `to ${name}` }, name)), el("option", { value: "ask" }, "ask me"), el("option", { value: "end" }, "nobody: finish"));
  $("fork-next").value = next ? `to ${next}` : "end";
  $("fork-words").value = shown.decision.instruction ?? "";
  chooseNext();
  drawWhere();
  draw(shown);
}

function chooseNext() {
  const next = $("fork-next").value;
  $("fork-words-label").textContent = next === "ask" ? "Question" : "Instruction";
  $("fork-words-label").hidden = $("fork-words").hidden = next === "end";
}

function fork() {
  const next = $("fork-next").value, words = $("fork-words").value.trim() || null;
  const decision = next === "ask" ? { user_input_needed: true, user_prompt: words }
    : next === "end" ? { next_agent: null } : { next_agent: next.slice(3), instruction: words };
  return api("fork", { thread, checkpoint: past, decision }).then(back);
}

function back() {
  past = null;
  drawSteps();
  draw(view);
  $("title").focus();
}

// ---- the beginning

async function start() {
  const { graphs, model } = await api("graphs");
  $("model").textContent = model === "offline" ? "offline model: fixed rules" : model;
  $("graphs").replaceChildren(...graphs.map((graph, place) => el("label", { class: "choice" },
    el("input", { type: "radio", name: "graph", value: graph.name, checked: place === 0, onchange: () => ($("request").placeholder = graph.example) }),
    " ", el("strong", {}, graph.name), " ", el("small", {}, graph.description))));
  $("request").placeholder = graphs[0].example;
  open();
}

onSubmit($("new"), async () => {
  const graph = document.querySelector("input[name=graph]:checked").value;
  const begun = await api("run", { graph, request: $("request").value });
  $("request").value = "";
  location.hash = query({ thread: begun.thread });
});
onSubmit($("again"), async () => {
  await api("run", { thread, request: $("next-request").value });
  $("next-request").value = "";
});
onSubmit($("fork"), fork, $("fork-fault"));
$("stop").onclick = () => send($("stop").parentNode, async () => { await api("stop", { thread }); say("The run stops after this step."); });
$("proceed").onclick = () => send($("proceed").parentNode, () => api("proceed", { thread }));
$("now").onclick = back;
$("fork-next").onchange = chooseNext;
$("scrub").oninput = () => send($("fork"), travel, $("fork-fault"));
addEventListener("hashchange", open);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) { stream?.close(); stream = null; } else if (thread && !stream) watch();
});
if (matchMedia("(max-width: 72rem)").matches) $("threads-box").open = false;
send($("new"), start);
