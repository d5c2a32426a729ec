/** The latest plans, and what each changed. */

import { openingDiff } from "./diffs.js";
import { at, h, list, put, say } from "./dom.js";
import { count, many, since } from "./words.js";
import { ask } from "./wire.js";

const PLANS_SHOWN = 10;

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
  const summary = h(
    "summary",
    {},
    h("b", { class: "number" }, String(plan.generation)),
    h("span", { class: "what" }, plan.unreadable ? "cannot be read" : described(plan)),
    tags,
    plan.published_at ? since(plan.published_at) : null,
  );
  const details = plan.unreadable
    ? h("details", { class: "plan" }, summary, h("div", { class: "body" }, h("p", {}, plan.unreadable)))
    : openingDiff("plan", summary, { path: `plans/${plan.generation}/diff`, rest: `enactorctl diff ${plan.generation}` });
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
