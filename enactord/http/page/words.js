/** Numbers, times and contents, as people read them. */

import { h, say } from "./dom.js";

const COUNT = new Intl.NumberFormat("en");
let clockAhead = 0;

/** Take the enactor's clock as the time: ours may be off. */
export function setClock(seconds) {
  clockAhead = seconds - Date.now() / 1000;
}

/** The time now, by the enactor's clock, in seconds since the epoch. */
export function now() {
  return Date.now() / 1000 + clockAhead;
}

export function count(number) {
  return COUNT.format(number);
}

/** "1 endpoint", "2 endpoints". */
export function many(number, one, more = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : more}`;
}

/** A generation; 0 is none. */
export function generation(number) {
  return number ? String(number) : "–";
}

/** How long, in the unit that fits. */
export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** The time of day in UTC; with the date where that is another. */
export function clock(seconds) {
  const text = new Date(seconds * 1000).toISOString();
  const today = new Date(now() * 1000).toISOString().slice(0, 10);
  return text.startsWith(today) ? text.slice(11, 19) : `${text.slice(0, 10)} ${text.slice(11, 16)}`;
}

/** A time that says how long ago it is, and goes on saying so. `form`: "ago", "for" or "clock". */
export function since(seconds, form = "ago") {
  const iso = new Date(seconds * 1000).toISOString();
  const node = h("time", { datetime: iso, title: `${iso.slice(0, 19).replace("T", " ")} UTC` });
  node.dataset.at = String(seconds);
  node.dataset.form = form;
  tell(node);
  return node;
}

/** Renew every time on the page. */
export function tick() {
  for (const node of document.querySelectorAll("time[data-at]")) tell(node);
}

function tell(node) {
  const seconds = Number(node.dataset.at);
  const past = span(now() - seconds);
  const text = { ago: `${past} ago`, for: `for ${past}`, clock: clock(seconds) }[node.dataset.form];
  say(node, text);
}

/** A text whose numbers stand out. */
export function numbers(text) {
  const parts = text.split(/((?<![\w.-])\d(?:[\d.,]*\d)?(?:%| s\b)?(?![\w.-]))/);
  return parts.map((part, index) => (index % 2 ? h("b", {}, part) : part));
}

/** "a, b and c". */
export function enumerate(texts) {
  return texts.length < 2 ? texts.join("") : `${texts.slice(0, -1).join(", ")} and ${texts.at(-1)}`;
}

/** What differs between two contents of an endpoint (null: none), as [sign, text] lines. */
export function contentChanges(before, after) {
  const lines = [];
  const old = new Map((before?.targets ?? []).map((target) => [target.address, target.weight]));
  const fresh = new Map((after?.targets ?? []).map((target) => [target.address, target.weight]));
  for (const [address, weight] of old) {
    if (!fresh.has(address)) lines.push(["−", `${address} ×${weight}`]);
    else if (fresh.get(address) !== weight) lines.push(["~", `${address} ×${weight} → ×${fresh.get(address)}`]);
  }
  for (const [address, weight] of fresh) {
    if (!old.has(address)) lines.push(["+", `${address} ×${weight}`]);
  }
  if (before && after && before.ttl_s !== after.ttl_s) lines.push(["~", `TTL ${before.ttl_s} s → ${after.ttl_s} s`]);
  return lines;
}

const NATURAL = new Intl.Collator("en", { numeric: true });

/** Order names as people count: svc2 before svc10. */
export function compareNames(a, b) {
  return NATURAL.compare(a, b);
}
