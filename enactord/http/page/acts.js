/** The audit log: what operators and planners did. */

import { at, h, list, say } from "./dom.js";
import { ask } from "./wire.js";
import { since } from "./words.js";

const ACTS_SHOWN = 10;

/** Read the newest acts and show them. */
export async function readActs() {
  try {
    const found = await ask("audit", { limit: ACTS_SHOWN });
    list(at("acts"), found.audit, (act) => `${act.at} ${act.author} ${act.deed} ${act.generation}`, actRow);
    at("acts-none").hidden = found.audit.length > 0;
    say(at("acts-none"), "Nothing yet.");
    at("acts-more").hidden = found.next === null;
  } catch (error) {
    at("acts-none").hidden = false;
    say(at("acts-none"), `The audit log cannot be read: ${error.message}.`);
  }
}

function actRow(act) {
  const what = act.generation ? `${act.deed}: plan ${act.generation}` : act.deed;
  const facts = Object.entries(act.facts).map(([name, fact]) => `${name.replaceAll("_", " ")} ${fact}`);
  return h(
    "li",
    {},
    since(act.at),
    h("span", { class: "name" }, act.author || "somebody"),
    h("span", { class: "tag" }, act.role),
    h("span", {}, act.reason ? `${what}: ${act.reason}` : what),
    h("span", { class: "quiet" }, facts.join(", ")),
  );
}
