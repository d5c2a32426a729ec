/** Enactors that are alive, what each does, and the plans that they claim. */

import { at, h, list, mark, put, say } from "./dom.js";
import { enumerate, many, since } from "./words.js";

/** Show the enactors of a state. */
export function showEnactors(state) {
  const claims = new Map();
  for (const { enactor, generation } of state.claims) claims.set(enactor, [...(claims.get(enactor) ?? []), generation]);
  const alive = state.enactors.map((enactor) => ({ ...enactor, claims: claims.get(enactor.id) ?? [] }));
  const known = new Set(alive.map((enactor) => enactor.id));
  // A claim outlives its enactor until the lease ends: it still keeps a plan, so it is shown.
  for (const [id, generations] of claims) if (!known.has(id)) alive.push({ id, claims: generations, gone: true });
  list(at("enactors"), alive, (enactor) => enactor.id, (enactor) => row(enactor, state.self.id));
  say(at("enactors-count"), alive.length ? `${many(state.enactors.length, "enactor")} alive` : "");
  at("enactors-none").hidden = alive.length > 0;
}

function row(enactor, own) {
  const doing = h("span", { class: "doing" });
  const claimed = h("span", { class: "claims" });
  const head = h("span", { class: "who" }, h("b", {}, enactor.id), enactor.id === own && h("span", { class: "tag" }, "this one"));
  const node = h("li", { class: "enactor" }, h("span", { class: "dot", "aria-hidden": "true" }), head, doing, claimed);
  let shown = "";
  node.renew = (one) => {
    mark(node, "data-state", one.gone ? "gone" : one.working_on ? "busy" : "idle");
    const text = one.stale ? "has said nothing new for long" : one.gone ? "gone; its lease runs out" : one.working_on ? `works on plan ${one.working_on}` : "waits for work";
    const key = `${text} ${one.since}`;
    if (key !== shown) put(doing, text, " ", one.since ? since(one.since, "for") : "");
    shown = key;
    say(claimed, one.claims.length ? `claims ${one.claims.length > 1 ? "plans" : "plan"} ${enumerate(one.claims.map(String))}` : "no claim");
  };
  return node;
}
