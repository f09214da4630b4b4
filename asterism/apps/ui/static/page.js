// The page: which run is open, what is known of it, what is sent.
import { api, onSubmit, query, say, send } from "./api.js";
import { $, el, sync } from "./dom.js";
import { compare } from "./compare.js";
import { loadTeams, models } from "./home.js";
import "./keys.js";
import { showOperations } from "./operations.js";
import { copyButton } from "./prose.js";
import { question } from "./questions.js";
import { answerOf, clearTalk, drawAnswer, drawFailures, drawLive, drawMeters, drawTalk, drawTeam, drawVisits, showEarlier } from "./run.js";
import { clearSteps, drawSteps, isLatest, latest, loadSteps, offerFork, placeOf, sendFork, stepCount } from "./steps.js";
import { remove, threads } from "./threads.js";
import { drawTimeline } from "./timeline.js";
import { failed, look, mark, standing, word } from "./words.js";

let thread = null, stream = null, view = null, live = null;
let past = null, then = null, details = new Map(), visited = "", attended = "", asking = false, late = 0, lost = 0;

// ---- opening runs

function open() {
  const wanted = query(location.hash.slice(1)).get("thread");
  stream?.close();
  [thread, view, live, past, then, stream, details] = [wanted, null, null, null, null, null, new Map()];
  clearSteps();
  clearTalk();
  drawTimeline({ visits: [], decisions: [] });
  visited = "";
  const operations = location.hash === "#operations";
  $("compare").hidden = true;
  $("fault").hidden = $("unknown").hidden = true;
  $("state-card").open = false;
  $("home").hidden = Boolean(thread) || operations;
  showOperations(operations);
  for (const [id, here] of [["to-home", !thread && !operations], ["to-operations", operations]]) here ? $(id).setAttribute("aria-current", "page") : $(id).removeAttribute("aria-current");
  $("run").hidden = true;
  threads(thread);
  if (thread) return watch();
  document.title = operations ? "Operations · Asterism" : "Asterism";
  (operations ? $("operations-title") : $("request")).focus();
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
    if (past) return;
    draw(view);
    attend(first);
  };
  source.onopen = connected;
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) missing();
    else lost ||= setTimeout(() => ($("lost").hidden = false), 2000);
  };
}
function connected() { clearTimeout(lost); lost = 0; $("lost").hidden = true; }

async function missing() {
  await send($("main"), async () => {
    try { await api(`thread?${query({ thread })}`); setTimeout(watch, 1000); }
    catch (error) { throw new Error(error.message.replace("; see: asterism threads", ".")); }
  });
  $("unknown").hidden = $("fault").hidden;
  threads(null);
}

// A new question gets the focus, unless something is being typed; of an approval its card, never
// a button: one stray key must not approve anything.
function attend(first) {
  const at = document.activeElement, idle = !at || at === document.body || at === $("title");
  const ids = view.questions.map((one) => one.id).join(), fresh = ids !== attended;
  attended = ids;
  const wanted = $("questions").querySelector(".approval, input, textarea, select, button");
  if (wanted && (first || (fresh && idle))) wanted.focus();
  else if (first) $("title").focus();
}

// What has changed is said once, in a few words.
function tell(before, now) {
  const asked = now.questions.find((one) => !before?.questions.some((old) => old.id === one.id));
  const said = now.reports.slice(before?.reports.length).map((report) => `${report.participant} reported: ${report.status}`);
  const moved = !before || standing(now) !== standing(before);
  if (asked) say(`${asked.participant} ${asked.calls.length ? "requests approval" : `asks you: ${asked.prompt}`}`);
  else if (moved) say(answerOf(now) && standing(now) === "completed" ? "Answer ready" : `The run: ${word(standing(now))}`);
  else if (said.length) say(said.join(", "));
  if (moved || before.driven !== now.driven) threads(thread);
}

function later() {
  clearTimeout(late);
  const wanted = thread;
  late = setTimeout(async () => {
    if (wanted !== thread || !view) return;
    const news = JSON.stringify([view.reports.length, view.driven, standing(view)]);
    const more = past || news === visited ? null : api(`visits?${query({ thread: wanted })}`);
    const [keep, found] = await Promise.all([loadSteps(wanted), more]).catch(() => []);
    if (!keep || wanted !== thread) return;
    keep();
    drawSteps(past, travel);
    if (past || !found) return;
    [visited, details] = [news, byId(found.visits)];
    drawDetails(view, live, found);
  }, 250);
}
function drawDetails(shown, now, found) {
  drawFailures(shown, details, Boolean(past || view.driven || shown.questions.length), retry, change);
  drawVisits(shown, now, details);
  if (found) drawTimeline(found);
}
const retry = (box, checkpoint) => send(box, () => api("retry", { thread, checkpoint }).then(() => $("title").focus()));
const change = (checkpoint) => travel(checkpoint).then(() => $("fork-words").focus());
const byId = (visits) => new Map(visits.map((visit) => [visit.id, visit]));

// ---- drawing

function draw(shown) {
  const state = past ? "past" : standing(shown), title = shown.title || shown.request.split("\n")[0] || shown.thread, now = past ? null : live;
  const failures = state === "completed" ? shown.reports.filter(failed).length : 0;
  const said = failures ? `${word(state)}, ${failures} failure${failures > 1 ? "s" : ""}` : word(state);
  const running = Boolean(shown.driven), cut = ["limit", "stalled", "failed"].includes(state);
  $("run").hidden = false;
  $("title").textContent = title;
  document.title = `${said} · ${title}`;
  $("status").textContent = `${failures ? "!" : mark(state)} ${said}`;
  $("status").className = `badge ${failures ? "waiting" : look(state)}`;
  $("facts").textContent = [shown.graph.split(":").at(-1), models(shown), shown.thread, shown.driven === "elsewhere" ? "Running in another process" : ""].filter(Boolean).join(" · ");
  $("facts").title = shown.graph;
  $("reason").textContent = past ? "" : shown.error ?? (now?.note || (cut ? shown.reason ?? "" : ""));
  $("stop").hidden = past || shown.driven !== "here";
  $("proceed").hidden = past || running || !(cut || state === "stopped");
  $("delete").hidden = past || running;
  $("rename-open").hidden = past;
  $("steer").hidden = past || !running;
  $("again").hidden = past || running || state === "stopped" || shown.questions.length > 0;
  $("past").hidden = !past;
  const before = $("questions").children.length;
  sync($("questions"), past ? [] : shown.questions, (one) => one.id, (one) => question(one, thread));
  if (asking && $("questions").children.length < before && document.activeElement === document.body) $("title").focus(); // it is answered
  drawLive(shown, now);
  drawAnswer(shown, !running && !past && !shown.questions.length && state !== "stopped");
  drawDetails(shown, now);
  drawTeam(shown, now);
  drawMeters(shown.usage, shown.iterations);
  drawTalk(shown);
}

// ---- the past

async function travel(checkpoint) {
  if (isLatest(checkpoint)) return back();
  past = checkpoint;
  $("compare").hidden = true;
  drawSteps(past, travel);
  await send($("fork"), async () => {
    const at = query({ thread, checkpoint });
    const [shown, found] = await Promise.all([api(`thread?${at}`), api(`visits?${at}`)]);
    if (past !== checkpoint) return;
    details = byId(found.visits);
    then = shown;
    $("past-text").textContent = `Viewing an earlier step · ${placeOf(checkpoint) + 1} of ${stepCount()}`;
    clearTalk();
    draw(shown);
    drawTimeline(found);
    await showState();
  }, $("fork-fault"));
  if (past === checkpoint && then) offerFork(checkpoint, then, Boolean(view.driven));
}

function back() {
  past = then = null;
  visited = "";
  clearTalk();
  $("fork").hidden = $("compare").hidden = true;
  drawSteps(past, travel);
  draw(view);
  later();
  send($("state-card"), showState);
}

async function showState() {
  if (!$("state-card").open) return;
  const shown = await api(`state?${query({ thread, ...(past ? { checkpoint: past } : {}) })}`);
  $("state").textContent = JSON.stringify(shown, null, 2);
}

// ---- the beginning

async function start() {
  await loadTeams();
  open();
}

onSubmit($("steer"), async () => {
  await api("steer", { thread, message: $("steering").value });
  $("steering").value = "";
  say("The team takes the message in at its next step.");
});
onSubmit($("again"), async () => {
  await api("run", { thread, request: $("next-request").value });
  $("next-request").value = "";
  $("title").focus();
});
onSubmit($("fork"), () => sendFork(thread).then(() => { back(); $("title").focus(); }), $("fork-fault"));
$("stop").onclick = () => send($("stop").parentNode, async () => { await api("stop", { thread }); say("The run stops after this step."); });
$("proceed").onclick = () => send($("proceed").parentNode, () => api("proceed", { thread }));
$("delete").onclick = () => remove(thread);
$("compare-open").onclick = () => send($("past"), () => compare(thread, past, latest()));
$("earlier").onclick = () => send($("talk-box"), () => showEarlier(thread, past));
$("rename-open").onclick = () => {
  const form = $("rename");
  form.hidden = !form.hidden;
  $("rename-open").setAttribute("aria-expanded", String(!form.hidden));
  if (!form.hidden) { $("rename-title").value = $("title").textContent; $("rename-title").select(); }
};
onSubmit($("rename"), () => api("rename", { thread, title: $("rename-title").value.trim() }).then(() => {
  $("rename-open").click();
  $("title").focus();
}));
$("now").onclick = () => { back(); $("title").focus(); };
$("state-card").ontoggle = () => send($("state-card"), showState);
$("state-head").append(copyButton("Copy", () => $("state").textContent));
$("skip").onclick = (event) => { event.preventDefault(); $("main").focus(); };
addEventListener("hashchange", open);
addEventListener("focusin", (event) => (asking = $("questions").contains(event.target)));
addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || !event.target.form) return;
  event.preventDefault();
  event.target.form.requestSubmit();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) { stream?.close(); stream = null; } else if (thread && !stream) watch();
});
if (matchMedia("(max-width: 45rem)").matches) $("threads-box").open = false;
send($("new"), start, $("fault"));
