/** The one sentence that a person needs first, and what stands behind it. */

import { count, many } from "./words.js";

/** Return {level: "ok" | "busy" | "warn" | "bad", title, points} of a state. */
export function verdict(state) {
  const self = state.self;
  const points = [...self.reasons];
  const refused = self.refused[String(state.head)];
  const zones = ours(state);
  const open = zones.filter((zone) => zone.applied < state.head || zone.fence < state.head);
  const held = state.endpoints.held;
  const heldPoint = held
    ? `${many(held, "endpoint")} held: a guard refused the new content, the last known good is served`
    : "";
  const notes = state.paused.map(
    (paused) => `Planner ${paused.planner} is paused by ${paused.author || "somebody"}: ${paused.reason}. To end it: enactorctl planner resume ${paused.planner}`,
  );
  if (heldPoint) notes.unshift(heldPoint);
  points.push(...notes);

  if (!self.store_up) return { level: "bad", title: "The plan store does not answer. What is served stays.", points };
  if (state.frozen) return { level: "warn", title: `Frozen at plan ${applied(state)}.`, points: notes };
  if (state.head === 0) return { level: "ok", title: "No plan has been published yet.", points };
  if (refused) return { level: "bad", title: `Plan ${state.head} is refused. What is served stays.`, points };
  if (open.length > 0) {
    const done = zones.length - open.length;
    const where = zones.length > 1 ? `: done in ${count(done)} of ${many(zones.length, "zone")}` : "";
    const trouble = self.reasons.some((reason) => !/not finished yet$/.test(reason));
    return { level: trouble ? "warn" : "busy", title: `Plan ${state.head} is being applied${where}.`, points };
  }
  const where = zones.length > 1 ? ` in all ${count(zones.length)} zones` : "";
  if (held) return { level: "warn", title: `Plan ${state.head} is applied${where}, but for ${many(held, "endpoint")} held.`, points };
  if (points.length > 0) return { level: "warn", title: `Plan ${state.head} is applied${where}; something needs a look.`, points };
  return { level: "ok", title: `Plan ${state.head} is applied${where}.`, points };
}

function applied(state) {
  return range(ours(state).map((zone) => zone.applied));
}

/** The zones that this enactor's config has; the store may know of others, which nobody works on. */
export function ours(state) {
  return state.zones.filter((zone) => zone.state !== "not in this config");
}

/** "104", or "103–104" where zones differ. */
export function range(generations) {
  if (generations.length === 0) return "–";
  const low = Math.min(...generations);
  const high = Math.max(...generations);
  return low === high ? (low ? String(low) : "–") : `${low || "none"}–${high}`;
}

/** What a freeze means for what is served, in words. */
export function frozenMeans(mode) {
  return mode === "repair-only"
    ? "No plan is applied. What drifts is still put back."
    : "Nothing is written: no plan is applied, nothing is put back. What is served stays as it is.";
}
