// How statuses, durations and money are written.
import { glyph } from "./star.js";

const WORDS = { running: "Running", waiting: "Needs you", completed: "Completed", limit: "Limit reached", past: "Earlier step" };
const LOOKS = { running: "working", waiting: "waiting", completed: "ok", stopped: "idle", past: "idle", queued: "idle", pending: "idle", paused: "idle" };

export const word = (state) => WORDS[state] ?? String(state).replace(/^./, (first) => first.toUpperCase());
export const look = (state) => LOOKS[state] ?? "bad";
export const mark = (state) => glyph(LOOKS[state]);
export const failed = (report) => !["ok", "skipped", "running", "waiting", "pending"].includes(report.status);

// Where a run stands; a graph that is no workflow has no status.
export function standing(shown) {
  if (shown.error && !shown.driven) return "failed";
  if (shown.status === "running" && !shown.driven) return shown.unfinished ? "stopped" : "running";
  return shown.status ?? (shown.driven || shown.unfinished ? "running" : "completed");
}

export function money(cost) {
  const dollars = Number(cost);
  return `$${dollars.toFixed(dollars === 0 || dollars >= 1 ? 2 : dollars >= 0.01 ? 3 : 5)}`;
}

export function cost(usage) {
  if (!usage.unknown.length) return money(usage.cost_usd);
  return Number(usage.cost_usd) ? `${money(usage.cost_usd)} + unknown` : "unknown";
}

export const tokens = (usage) => (usage.estimated_tokens ? "about " : "") + usage.tokens.toLocaleString("en");

export function duration(began, ended) {
  const seconds = (new Date(ended) - new Date(began)) / 1000;
  return began && ended && seconds >= 0 ? span(seconds) : "";
}

export function span(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

// The group of the list of runs that a time belongs to.
export function dayOf(when) {
  const midnight = new Date();
  midnight.setHours(0, 0, 0, 0);
  const days = (midnight - new Date(when)) / 86_400_000;
  return days <= 0 ? "Today" : days <= 1 ? "Yesterday" : "Earlier";
}

// How long ago something was; the exact time stands in a title.
export function ago(when) {
  const seconds = (Date.now() - new Date(when)) / 1000;
  if (!(seconds >= 60)) return seconds >= 0 || seconds < 0 ? "now" : "";
  const [unit, size] = [["d", 86400], ["h", 3600], ["min", 60]].find(([, one]) => seconds >= one);
  return `${Math.floor(seconds / size)} ${unit}`;
}
