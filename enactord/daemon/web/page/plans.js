/** The latest plans, and what each changed. */

import { at, h, list, mark, put, say } from "./dom.js";
import { contentChanges, count, many, since } from "./words.js";
import { ask } from "./wire.js";

const PLANS_SHOWN = 10;
const SOME = 8;
const ALL = 500;

/** Read the latest plans and show them. */
export async function readPlans() {
  try {
    const found = await ask("plans", { limit: PLANS_SHOWN });
    list(at("plans"), found.plans, (plan) => `${plan.generation}`, planRow);
    at("plans-none").hidden = found.plans.length > 0;
    say(at("plans-none"), "No plan is stored.");
    say(at("plans-count"), found.total > found.plans.length ? `the newest ${found.plans.length} of ${count(found.total)} stored` : "");
  } catch (error) {
    at("plans-none").hidden = false;
    say(at("plans-none"), `The plans cannot be read: ${error.message}.`);
  }
}

function planRow(plan) {
  const tags = h("span", { class: "tags" });
  const body = h("div", { class: "body" });
  const summary = h(
    "summary",
    {},
    h("b", { class: "number" }, String(plan.generation)),
    h("span", { class: "what" }, plan.unreadable ? "cannot be read" : described(plan)),
    tags,
    plan.published_at ? since(plan.published_at) : null,
  );
  const details = h("details", { class: "plan", toggle: () => details.open && body.childElementCount === 0 && open() }, summary, body);
  const open = () => fillDiff(body, plan, SOME);
  let shown = "";
  const node = h("li", {}, details);
  node.renew = (now) => {
    const texts = tagsOf(now);
    if (texts.join() === shown) return;
    shown = texts.join();
    put(tags, ...texts.map((text) => h("span", { class: "tag", "data-tag": text.split(" ")[0] }, text)));
  };
  return node;
}

function described(plan) {
  const by = plan.author ? ` by ${plan.author}` : "";
  if (plan.rollback_of) return `back to plan ${plan.rollback_of}${by}: ${plan.reason}`;
  if (plan.approval) return `approved by ${plan.approval.author}: ${plan.approval.reason}`;
  return `${many(plan.endpoints, "endpoint")}${by}${plan.reason ? `: ${plan.reason}` : ""}`;
}

function tagsOf(plan) {
  const tags = [];
  if (plan.unreadable) return ["unreadable"];
  if (plan.claims?.length) tags.push(`claimed by ${plan.claims.length}`);
  if (plan.open_in?.length) tags.push("open");
  if (plan.applied_in?.length) tags.push("applied");
  return tags;
}

/** Show what a plan changed, at most so many names of each kind. */
async function fillDiff(body, plan, limit) {
  if (plan.unreadable) {
    put(body, h("p", {}, plan.unreadable));
    return;
  }
  mark(body, "aria-busy", "true");
  try {
    const diff = await ask(`plans/${plan.generation}/diff`, { limit });
    put(body, ...diffNodes(diff, plan, body, limit));
  } catch (error) {
    const again = h("button", { type: "button", click: () => fillDiff(body, plan, limit) }, "Try again");
    put(body, h("p", { class: "quiet" }, `What it changed cannot be read: ${error.message}.`), again);
  } finally {
    mark(body, "aria-busy", null);
  }
}

function diffNodes(diff, plan, body, limit) {
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
    nodes.push(h("button", { type: "button", click: () => fillDiff(body, plan, ALL) }, `Show more of ${count(total)}`));
  } else if (total > shownMax) {
    nodes.push(h("p", { class: "quiet" }, `The rest: enactorctl diff ${plan.generation}`));
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
