// Builds elements from the trees that the server makes of Markdown. Texts stay text.
import { el } from "./dom.js";

const TAGS = new Set(["p", "ul", "ol", "li", "blockquote", "hr", "br", "strong", "em", "s", "code", "span", "thead", "tbody", "tr", "th", "td"]);
const LINK = /^(https?:\/\/|mailto:)/i;

export const prose = (blocks) => el("div", { class: "prose" }, blocks.map(build));

function build(node) {
  if (typeof node === "string") return node;
  const inside = node.children.map(build), heading = /^h([1-6])$/.exec(node.tag);
  if (heading) return el(`h${Math.min(6, Number(heading[1]) + 2)}`, {}, inside); // the page has h1 and h2
  if (node.tag === "pre") return code(node, inside);
  if (node.tag === "table") return el("div", { class: "table", tabindex: 0, role: "region", "aria-label": "Table" }, el("table", {}, inside));
  if (node.tag === "a" && LINK.test(node.href)) return el("a", { href: node.href, title: node.title, target: "_blank", rel: "noopener noreferrer" }, inside);
  if (!TAGS.has(node.tag)) return el("span", {}, inside);
  return el(node.tag, { class: node.align ?? node.kind, start: node.start }, inside);
}

function code(node, inside) {
  const shown = el("pre", { tabindex: 0 }, el("code", {}, inside));
  return el("div", { class: "codebox" }, el("div", { class: "codehead" }, el("span", {}, node.lang ?? "code"), copyButton("Copy", () => shown.textContent)), shown);
}

export function copyButton(label, read) {
  const button = el("button", { type: "button", class: "small", onclick: async () => {
    button.textContent = await navigator.clipboard.writeText(read()).then(() => "Copied", () => "Not copied");
    setTimeout(() => (button.textContent = label), 2000);
  } }, label);
  return button;
}
