/** The one sentence that a person needs first, and what stands behind it. */

import { refusedPoints } from "./refused.js";
import { clock, count, enumerate, many } from "./words.js";

const ZONES_NAMED = 3;
const OVERRIDES_NAMED = 3;

/** Return {level: "ok" | "busy" | "warn" | "bad", title, points} of a state. Nothing unknown is "ok". */
export function verdict(state) {
  const self = state.self;
  const held = state.endpoints.held;
  const notes = [
    held && `${many(held, "endpoint")} held: a guard refused the new content, the last known good is served`,
    ...state.paused.map(
      (paused) => `Planner ${paused.planner} is paused by ${paused.author || "somebody"}: ${paused.reason}. To end it: enactorctl planner resume ${paused.planner}`,
    ),
    ...refusedPoints(state.refused),
    ...overridePoints(state.overrides),
    ...self.notes,
  ].filter(Boolean);
  const points = [...self.reasons, ...notes];
  const say = (level, title) => ({ level, title, points });

  if (!self.identity_up) return say("bad", "Store, zone or id is another installation's.");
  if (self.store_full) return say("bad", "The plan store has no room. Nothing can be published or frozen. What is served stays.");
  if (!self.store_up) return say("bad", "The plan store does not answer. What is served stays.");
  const kept = zonesThat(state, (zone) => zone.aspect === "held");
  if (kept.length > 0) return say("bad", `An operator holds ${named(kept)}. Nothing of a plan is written there.`);
  const ahead = ours(state).filter((zone) => state.head > 0 && zone.txt > state.head).map((zone) => zone.zone);
  if (ahead.length > 0) return say("bad", `The fence of ${named(ahead)} stands above the newest plan. Nothing can be applied there.`);
  if (state.frozen) return { level: "warn", title: `Frozen at plan ${applied(state)}.`, points: points.filter((point) => !point.startsWith("frozen (")) };
  const down = zonesThat(state, (zone) => zone.problem !== "");
  if (down.length > 0) return say("bad", `${named(down)} cannot be worked on.`);
  if (self.refused[String(state.head)]) return say("bad", `Plan ${state.head} is refused. What is served stays.`);
  const unknown = ours(state).filter((zone) => zone.state === "unknown").map((zone) => zone.zone);
  if (unknown.length > 0) return say("warn", `What ${named(unknown)} serves now is not known.`);
  const away = serversThat(state, "away");
  if (away.length > 0) return say("warn", `${named(away)} does not answer.`);
  const behind = serversThat(state, "behind");
  if (behind.length > 0) return say("warn", `${named(behind)} serves older content.`);
  if (state.head === 0) return say(points.length ? "warn" : "ok", "No plan has been published yet.");
  const zones = ours(state);
  const open = zones.filter((zone) => zone.applied < state.head || zone.fence < state.head);
  if (open.length > 0) {
    const done = zones.length - open.length;
    const where = zones.length > 1 ? `: done in ${count(done)} of ${many(zones.length, "zone")}` : "";
    return say(self.reasons.length > 0 ? "warn" : "busy", `Plan ${state.head} is being applied${where}.`);
  }
  const where = zones.length > 1 ? ` in all ${count(zones.length)} zones` : "";
  if (self.amiss) return say("warn", `Plan ${state.head} is applied${where}, and ${many(self.amiss, "endpoint")} served otherwise.`);
  if (state.refused.length > 0) return say("warn", `Plan ${state.head} is applied${where}. What ${enumerate(state.refused.map((kept) => `planner ${kept.planner}`))} last published is refused.`);
  if (state.overrides.length > 0) return say("warn", `Plan ${state.head} is applied${where}. Operators override ${many(new Set(state.overrides.map((one) => one.name)).size, "endpoint")}.`);
  if (held) return say("warn", `Plan ${state.head} is applied${where}, but for ${many(held, "endpoint")} held.`);
  if (points.length > 0) return say("warn", `Plan ${state.head} is applied${where}; something needs a look.`);
  return say("ok", `Plan ${state.head} is applied${where}.`);
}

function overridePoints(overrides) {
  const points = overrides.slice(0, OVERRIDES_NAMED).map((one) => `${one.name} is overridden by ${one.author} until ${clock(one.until)} UTC (${one.what}): ${one.reason}. To end it: enactorctl override end ${one.id}`);
  const more = overrides.length - points.length;
  return more > 0 ? [...points, `${count(more)} more overrides: enactorctl override list`] : points;
}

function zonesThat(state, is) {
  return Object.keys(state.self.zones).filter((zone) => is(state.self.zones[zone]));
}

function serversThat(state, how) {
  const zones = Object.values(state.self.zones);
  return [...new Set(zones.flatMap((zone) => zone.servers.filter((one) => one.state === how).map((one) => one.server)))];
}

function named(names) {
  const rest = names.length - ZONES_NAMED;
  const plain = names.slice(0, ZONES_NAMED).map((name) => name.replace(/\.$/, "")); // a sentence may end with it
  return enumerate(rest > 0 ? [...plain, `${count(rest)} more`] : plain);
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
