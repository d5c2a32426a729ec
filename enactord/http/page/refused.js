/** Publications that guards refused: why, what each would change, and the command that approves it. */

import { openingDiff } from "./diffs.js";
import { at, h, list, put, say } from "./dom.js";
import { count, many, since } from "./words.js";

const MARK = 16;

/** Show the refused publications of a state. */
export function showRefused(refused) {
  at("refused-section").hidden = refused.length === 0;
  list(at("refused"), refused, (kept) => kept.digest, refusedRow);
}

/** The start of a digest, with a letter in it, so that it is no generation's number: as core/contribution.py has it. */
export function markOf(digest) {
  return digest.slice(0, Math.max(MARK, digest.search(/[a-f]/) + 1));
}

function refusedRow(kept) {
  const mark = markOf(kept.digest);
  const when = h("span", {});
  const reasons = [h("ul", { class: "lines" }), h("ul", { class: "lines" })]; // above the changes where they are shown
  const summary = h(
    "summary",
    {},
    h("b", { class: "number" }, mark),
    h("span", { class: "what" }, `planner ${kept.planner}, by ${kept.author}: ${kept.whole ? "the whole scope" : "changes"}, ${many(kept.names, "endpoint")}`),
    when,
  );
  const hint = h("p", { class: "hint" }, "If it is meant: ", h("code", {}, `enactorctl publish --approve ${mark} --reason TEXT`));
  const details = openingDiff("plan", summary, { path: `refused/${kept.digest}/diff`, rest: `enactorctl diff ${mark}`, before: [reasons[0], hint] });
  const node = h("li", {}, details, reasons[1]);
  node.renew = (now) => {
    put(when, now.times > 1 ? `${count(now.times)} times, last ` : "", since(now.last_at));
    for (const each of reasons) list(each, now.refusals, (refusal) => `${refusal.guard} ${refusal.detail}`, (refusal) => h("li", {}, h("b", {}, refusal.guard), `: ${refusal.detail}`));
  };
  return node;
}

/** Return the sentences of a state that say which planners' last publications are refused. */
export function refusedPoints(refused) {
  return refused.map((kept) => `Guards refused what planner ${kept.planner} last published: ${[...new Set(kept.refusals.map((refusal) => refusal.guard))].join(", ")}. See below: Refused.`);
}
