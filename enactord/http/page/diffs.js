/** What a plan, or a refused publication, changes: a list that is read when somebody opens it. */

import { h, mark, put } from "./dom.js";
import { contentChanges, count } from "./words.js";
import { ask } from "./wire.js";

const SOME = 8;
const ALL = 500;

/**
 * Return a row that opens: a summary, and under it what changes.
 *
 * `path` is where the API has the changes; `rest` is the command that shows all of them; `before` stands above them.
 */
export function openingDiff(name, summary, { path, rest, before = [] }) {
  const body = h("div", { class: "body" });
  const open = () => fill(body, { path, rest, before }, SOME);
  const details = h("details", { class: name, toggle: () => details.open && body.childElementCount === 0 && open() }, summary, body);
  return details;
}

/** Show changes, at most so many names of each kind. */
async function fill(body, source, limit) {
  mark(body, "aria-busy", "true");
  try {
    const diff = await ask(source.path, { limit });
    put(body, ...source.before, ...diffNodes(diff, body, source, limit));
  } catch (error) {
    const again = h("button", { type: "button", click: () => fill(body, source, limit) }, "Try again");
    put(body, ...source.before, h("p", { class: "quiet" }, `What changes cannot be read: ${error.message}.`), again);
  } finally {
    mark(body, "aria-busy", null);
  }
}

function diffNodes(diff, body, source, limit) {
  const { added, removed, changed } = diff.counts;
  const total = added + removed + changed;
  const against = diff.from ? `against plan ${diff.from}` : "against nothing: no earlier plan is stored";
  const some = diff.complete ? "" : " at least (the plan is too large to compare in full here)";
  const nodes = [
    h(
      "p",
      { class: "quiet" },
      total ? `${count(changed)} changed, ${count(added)} added, ${count(removed)} removed${some}, ${against}.` : `Nothing changed${some}, ${against}.`,
    ),
  ];
  const entries = [
    ...diff.changed.map((entry) => ["changed", entry]),
    ...diff.added.map((entry) => ["added", entry]),
    ...diff.removed.map((entry) => ["removed", entry]),
  ];
  nodes.push(h("ul", { class: "diff" }, entries.map(([kind, entry]) => diffRow(kind, entry))));
  const shownMax = Math.min(changed, limit) + Math.min(added, limit) + Math.min(removed, limit);
  if (limit < ALL && total > shownMax) {
    nodes.push(h("button", { type: "button", click: () => fill(body, source, ALL) }, `Show more of ${count(total)}`));
  } else if (total > shownMax) {
    nodes.push(h("p", { class: "quiet" }, "The rest: ", h("code", {}, source.rest)));
  }
  return nodes;
}

function diffRow(kind, entry) {
  const lines = contentChanges(entry.before, entry.after);
  return h(
    "li",
    { "data-kind": kind },
    h("span", { class: "name" }, entry.name),
    h("span", { class: "tag" }, kind),
    h("ul", { class: "lines" }, lines.map(([sign, text]) => h("li", { "data-sign": sign }, `${sign} ${text}`))),
  );
}
