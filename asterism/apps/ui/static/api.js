// Asking the server, sending forms, and saying what happened.
import { $ } from "./dom.js";

export async function api(path, body) {
  const sent = body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(`api/${path}`, sent).catch(() => { throw new Error("The server cannot be reached."); });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error.message);
  return answer;
}

export const query = (given) => new URLSearchParams(given);

// Sends a form: no second time while it is under way, and a fault is shown beside it.
export async function send(form, work, fault = $("fault")) {
  const buttons = [...form.querySelectorAll("button")].filter((button) => !button.disabled);
  buttons.forEach((button) => (button.disabled = true));
  fault.hidden = true;
  try { await work(); }
  catch (error) { fault.textContent = error.message; fault.hidden = false; }
  finally { buttons.forEach((button) => (button.disabled = false)); }
}

export const onSubmit = (form, work, fault) =>
  form.addEventListener("submit", (event) => { event.preventDefault(); send(form, work, fault); });

// Says something to a screen reader: the latest of what there is to say, at most once in 2 seconds.
let next = 0, waits = 0;
export function say(text) {
  clearTimeout(waits);
  waits = setTimeout(() => { next = Date.now() + 2000; $("said").textContent = text; }, Math.max(0, next - Date.now()));
}
