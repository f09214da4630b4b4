// Questions to a person, and approvals of tool calls.
import { api, onSubmit, say, send } from "./api.js";
import { el } from "./dom.js";
import { field } from "./forms.js";
import { prose } from "./prose.js";

export function question(one, thread) {
  const fault = el("p", { class: "fault", role: "alert", hidden: true });
  const answer = (value) => api("answer", { thread, answers: { [one.id]: value ?? null } });
  return one.calls.length ? approvals(one, answer, fault) : asked(one, answer, fault);
}

function asked(one, answer, fault) {
  const part = field(one.schema, { label: "Your answer" });
  const form = el("form", { class: "card question" }, el("h2", {}, `${one.path || "The supervisor"} asks you`), prose(one.blocks), part.node,
    el("div", { class: "buttons" }, el("button", { type: "submit" }, "Send answer"), el("small", {}, "Ctrl/⌘ + Enter")), fault);
  onSubmit(form, () => answer(part.read()), fault);
  return form;
}

// Several calls of one turn are answered together: the last decision sends them.
function approvals(one, answer, fault) {
  const decisions = one.calls.map(() => null);
  const box = el("div", { class: "card question" });
  const decide = (place, decision) => {
    decisions[place] = decision;
    if (decisions.includes(null)) return Promise.resolve();
    return send(box, () => answer(one.single ? decisions[0] : { decisions }), fault);
  };
  const names = [...new Set(one.calls.map((call) => call.name))].join(", ");
  box.append(el("h2", {}, `${one.path || "The supervisor"} requests approval: ${names}`),
    ...one.calls.map((call, place) => approval(call, place, one.calls.length, (decision) => decide(place, decision))), fault);
  return box;
}

function approval(call, place, count, decide) {
  const properties = Object.keys(call.schema.properties), can = (kind) => call.allowed.includes(kind);
  const pairs = el("dl", { class: "pairs", "aria-label": `Arguments of ${call.name}` }, Object.entries(call.args).map(([name, value]) =>
    [el("dt", {}, titled(call.schema.properties[name], name)), el("dd", {}, typeof value === "string" ? value : JSON.stringify(value))]));
  const fields = el("div"), fault = el("p", { class: "fault", role: "alert", hidden: true });
  const message = el("textarea", { rows: 2, "aria-label": `Message about ${call.name}`, placeholder: "Optional: why you reject it, or what to do instead" });
  const state = el("p", { class: "quiet" });
  let edited = null;

  const done = (word, decision) => {
    say(word);
    state.textContent = count > 1 ? `${word}. It is sent when every call is decided; you can still change it.` : "";
    buttons.forEach((button) => button.setAttribute("aria-pressed", String(count > 1 && button.dataset.kind === decision.type)));
    decide(decision);
  };
  const approve = () => {
    if (!edited) return done("Approved", { type: "approve" });
    if (!form.reportValidity()) return;
    try { done("Approved with changes", { type: "edit", edited_action: { name: call.name, args: { ...edited.read() } } }); fault.hidden = true; }
    catch (error) { fault.textContent = error.message; fault.hidden = false; }
  };
  const edit = () => {
    edited = edited ? null : field(call.schema, { value: call.args });
    fields.replaceChildren(...(edited ? [edited.node] : []));
    pairs.hidden = Boolean(edited);
    approveButton.textContent = edited ? "Approve with changes" : "Approve";
    approveButton.dataset.kind = edited ? "edit" : "approve";
    approveButton.hidden = !can(edited ? "edit" : "approve");
    editButton.textContent = edited ? "Discard changes" : "Edit";
    (edited ? fields.querySelector("input, textarea, select") : editButton)?.focus();
  };
  const words = () => message.value.trim();
  const reject = () => done("Rejected", { type: "reject", ...(words() ? { message: words() } : {}) });
  const respond = () => (words() ? done("Answered", { type: "respond", message: words() }) : message.focus());

  const approveButton = button("Approve", "approve", approve, can("approve"), "primary");
  const editButton = button("Edit", "", edit, can("edit") && properties.length > 0, "edit");
  const buttons = [approveButton, editButton, button("Reject", "reject", reject, can("reject"), "danger"),
    button("Answer instead", "respond", respond, can("respond"))];
  const form = el("form", { class: "approval", tabindex: -1, "aria-label": `Approve this call: ${call.name}${count > 1 ? ` (${place + 1} of ${count})` : ""}` },
    el("h3", {}, "Approve this call: ", el("code", {}, call.name), count > 1 ? el("small", {}, ` ${place + 1} of ${count}`) : ""),
    call.description ? el("p", { class: "quiet" }, call.description) : "", pairs, fields,
    can("reject") || can("respond") ? message : "", el("div", { class: "buttons" }, buttons), state, fault);
  form.addEventListener("submit", (event) => { event.preventDefault(); if (edited) approve(); });
  return form;
}

const button = (label, kind, onclick, shown, look = "") => el("button", { type: "button", class: look, hidden: !shown, "data-kind": kind, onclick }, label);
const titled = (schema, name) => schema?.title ?? name.replaceAll("_", " ").replace(/^./, (first) => first.toUpperCase());
