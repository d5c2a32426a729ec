/** Building and renewing the document. Text is set as text, never as HTML. */

const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

/** A text in which nothing hides or turns another text round: such characters as `\u001b`, as core/visible.py does. */
export function visible(text) {
  return String(text).replace(HIDDEN, (found) =>
    [...Array(found.length).keys()]
      .map((index) => `\\u${found.charCodeAt(index).toString(16).padStart(4, "0")}`)
      .join(""),
  );
}

/** Make an element: attributes by name (`class`, `aria-…`; functions are listeners), then children. */
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, visible(value));
  }
  node.append(...safely(children));
  return node;
}

/** Give an element these children in place of those that it has. */
export function put(node, ...children) {
  node.replaceChildren(...safely(children));
}

function safely(children) {
  const there = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  return there.map((child) => (child instanceof Node ? child : visible(child)));
}

/** The element of the page with this id. */
export function at(id) {
  const node = document.getElementById(id);
  if (node === null) throw new Error(`no element ${id}`);
  return node;
}

/** Set a text, and touch nothing where it is there already (a screen reader would say it again). */
export function say(node, text) {
  const safe = visible(text);
  if (node.textContent !== safe) node.textContent = safe;
}

/** Set or take away an attribute. */
export function mark(node, name, value) {
  if (value === null || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== visible(value)) node.setAttribute(name, value === true ? "" : visible(value));
}

/**
 * Show items as children of a parent, one node a key; nodes that are there stay, and with them
 * what is open or in focus. `make(item)` returns a node, whose `renew(item)` brings it up to date.
 */
export function list(parent, items, key, make) {
  const known = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let node = known.get(name);
    known.delete(name);
    if (node === undefined) {
      node = make(item);
      node.dataset.key = name;
    }
    node.renew?.(item);
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
  for (const node of known.values()) node.remove();
}
