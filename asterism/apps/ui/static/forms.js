// Forms from JSON schemas: `field` returns what is shown, and a function that reads the answer.
import { el } from "./dom.js";

let count = 0;
const INPUTS = { date: "date", time: "time", email: "email", uri: "url" };

export function field(schema, { label, value, root, needed = true } = {}) {
  root ??= schema ??= { type: "string", minLength: 1 };
  schema = resolved(schema, root);
  value ??= schema.default;
  const options = schema.anyOf ?? schema.oneOf;
  if ("const" in schema) return { node: "", read: () => schema.const };
  if (options) return oneOf(options, { label, value, root, needed });
  if (schema.enum) return choice(schema.enum, { label, value, needed });
  const type = [schema.type].flat().find((name) => name !== "null");
  if (type === "boolean") return flag({ label, value });
  if (type === "integer" || type === "number") return number(schema, type, { label, value, needed });
  if (type === "string") return text(schema, { label, value, needed, long: schema === root });
  if (type === "object" && schema.properties) return object(schema, { label, value, root });
  if (type === "array" && (schema.items || schema.prefixItems)) return list(schema, { label, value, root });
  return json({ label, value });
}

function resolved(schema, root) {
  for (let deep = 0; schema.$ref && deep < 20; deep++) {
    schema = schema.$ref.split("/").slice(1).reduce((at, part) => at?.[part], root) ?? {};
  }
  return schema;
}

function labelled(label, control, help) {
  control.id = `field-${++count}`;
  if (help) control.setAttribute("aria-describedby", `${control.id}-help`);
  return el("div", { class: "field" }, el("label", { for: control.id }, label ?? "Your answer"), control,
    help ? el("p", { id: `${control.id}-help`, class: "quiet" }, help) : "");
}

function text(schema, { label, value, needed, long }) {
  const given = { required: needed && schema.minLength > 0, maxlength: schema.maxLength };
  const written = String(value ?? ""), tall = long || written.length > 60 || written.includes("\n");
  const control = tall && !schema.format && !schema.pattern ? el("textarea", { ...given, rows: Math.min(8, Math.max(2, written.split("\n").length)) })
    : el("input", { ...given, type: INPUTS[schema.format] ?? "text" });
  control.value = value ?? "";
  const read = () => control.value === "" && !needed ? undefined : control.value;
  return { node: labelled(label, control, schema.description), read };
}

function number(schema, type, { label, value, needed }) {
  const control = el("input", { type: "number", step: type === "integer" ? 1 : "any", min: schema.minimum, max: schema.maximum, required: needed });
  control.value = value ?? "";
  return { node: labelled(label, control, schema.description), read: () => control.value === "" ? undefined : Number(control.value) };
}

function flag({ label, value }) {
  const control = el("input", { type: "checkbox" });
  control.checked = Boolean(value);
  return { node: el("label", { class: "check" }, control, " ", label ?? "Yes"), read: () => control.checked };
}

function choice(values, { label, value, needed }) {
  const control = el("select", {}, needed ? "" : el("option", { value: -1 }, "(nothing)"),
    values.map((one, place) => el("option", { value: place }, String(one))));
  if (value !== undefined) control.value = values.indexOf(value);
  return { node: labelled(label, control), read: () => values[Number(control.value)] };
}

function json({ label, value }) {
  const written = value === undefined ? "" : JSON.stringify(value, null, 1);
  const control = el("textarea", { rows: Math.min(12, written.split("\n").length + 1), spellcheck: "false", class: "code" });
  control.value = written;
  const read = () => {
    try { return control.value.trim() ? JSON.parse(control.value) : undefined; }
    catch (error) { throw new Error(`${label ?? "The answer"} is not JSON: ${error.message}`); }
  };
  return { node: labelled(label, control, "as JSON"), read };
}

function object(schema, { label, value, root }) {
  const required = schema.required ?? [];
  const parts = Object.entries(schema.properties).map(([name, inner]) =>
    [name, field(inner, { label: titled(inner, name), value: value?.[name], root, needed: required.includes(name) })]);
  const read = () => Object.fromEntries(parts.map(([name, part]) => [name, part.read()]).filter(([, given]) => given !== undefined));
  return { node: group(label, parts.map(([, part]) => part.node)), read };
}

function list(schema, { label, value, root }) {
  const parts = [], body = el("div");
  const add = (inner, given) => {
    const part = field(inner, { label: `${label ?? "Item"} ${parts.length + 1}`, value: given, root });
    const entry = { ...part, box: el("div", { class: "item" }, part.node) };
    if (!schema.prefixItems) entry.box.append(el("button", { type: "button", onclick: () => { parts.splice(parts.indexOf(entry), 1); entry.box.remove(); } }, "Remove"));
    parts.push(entry);
    body.append(entry.box);
  };
  if (schema.prefixItems) schema.prefixItems.forEach((inner, place) => add(inner, value?.[place]));
  else (value ?? Array(schema.minItems ?? 0).fill(undefined)).forEach((given) => add(schema.items, given));
  const more = schema.prefixItems ? "" : el("button", { type: "button", onclick: () => add(schema.items) }, "Add");
  return { node: group(label, [body, more]), read: () => parts.map((part) => part.read()) };
}

function oneOf(options, { label, value, root, needed }) {
  const real = options.map((one) => resolved(one, root)).filter((one) => one.type !== "null");
  if (real.length === 1) {
    const part = field(real[0], { label, value, root, needed: false });
    return { node: part.node, read: () => part.read() ?? (needed && real.length < options.length ? null : undefined) };
  }
  const name = `choice-${++count}`, body = el("div");
  let part;
  const choose = (one) => { part = field(one, { value, root }); body.replaceChildren(part.node); };
  const radios = real.map((one, place) => el("label", { class: "choice" },
    el("input", { type: "radio", name, required: true, onchange: () => choose(one) }), " ", titled(one.properties?.type ?? {}, one.properties?.type?.const ?? one.title ?? one.type ?? place + 1)));
  return { node: group(label, [el("div", { class: "choices" }, radios), body]), read: () => part?.read() };
}

const titled = (schema, name) => schema.title ?? String(name).replaceAll("_", " ").replace(/^./, (c) => c.toUpperCase());
const group = (label, nodes) => label ? el("fieldset", {}, el("legend", {}, label), nodes) : el("div", {}, nodes);
