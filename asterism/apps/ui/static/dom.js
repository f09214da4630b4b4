// Making elements. Texts become text nodes, never markup.
const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

export function el(name, given = {}, ...children) {
  return fill(document.createElement(name), given, children);
}

export function svg(name, given = {}, ...children) {
  return fill(document.createElementNS(SVG, name), given, children);
}

function fill(node, given, children) {
  for (const [key, value] of Object.entries(given)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child != null && child !== ""));
  return node;
}

// Makes the children of a list those of `items`; what has not changed is left alone, with the
// focus, what is typed and what is open.
export function sync(list, items, key, make) {
  const kept = new Map([...list.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, place) => {
    const name = String(key(item)), shape = JSON.stringify(item), old = kept.get(name);
    let node = old;
    if (!old || old.shape !== shape) {
      node = make(item, old);
      node.dataset.key = name;
      node.shape = shape;
      old?.replaceWith(node);
    }
    kept.delete(name);
    if (list.children[place] !== node) list.insertBefore(node, list.children[place] ?? null);
  });
  kept.forEach((gone) => gone.remove());
}
