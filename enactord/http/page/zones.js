/** Generations: how far the newest plan has come, over all and zone by zone. */

import { at, h, list, mark, put, say } from "./dom.js";
import { ours, range } from "./verdict.js";
import { compareNames, count, generation, many, since } from "./words.js";

const FEW = 8;
const ORDER = ["not well", "unknown", "of another version", "never opened", "applying", "behind", "applied", "not in this config"];
const MEANS = {
  applied: "at the newest plan",
  applying: "being applied",
  behind: "a newer plan is to come",
  "never opened": "no plan has been opened here yet",
  "not well": "not well: see above",
  unknown: "not looked at lately",
  "of another version": "written by another version",
  "not in this config": "not in this enactor's config; see: enactorctl zone retire",
};
let allZones = false;

/** Show the generations of a state. */
export function showZones(state) {
  const fences = ours(state).map((zone) => zone.fence);
  const applied = ours(state).map((zone) => zone.applied);
  const known = state.self.store_up;
  step("head", generation(state.head), known ? "yes" : "unknown");
  step("fence", range(fences), fences.some((fence) => fence > state.head) ? "above" : reached(fences, state, known));
  step("applied", range(applied), reached(applied, state, known));
  const verified = reached([state.self.verified], state, state.self.looked_at > 0);
  step("verified", generation(state.self.verified), state.self.amiss && verified === "yes" ? "no" : verified);
  const looked = at("looked");
  if (looked.dataset.at !== String(state.self.looked_at)) {
    looked.dataset.at = String(state.self.looked_at);
    put(looked, state.self.looked_at ? ["every zone looked at ", since(state.self.looked_at)] : "some zone was never looked at");
  }

  const seen = state.zones.map((zone) => ({ ...zone, amiss: amissIn(state.self.zones[zone.zone]) }));
  const zones = seen.sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || compareNames(a.zone, b.zone));
  const settled = zones.filter((zone) => zone.state === "applied").length;
  const more = zones.length - FEW;
  list(at("zones"), allZones || more <= 1 ? zones : zones.slice(0, FEW), (zone) => zone.zone, zoneRow);
  const button = at("zones-more");
  button.hidden = more <= 1;
  say(button, allZones ? "Show fewer" : `Show ${many(more, "more zone")}`);
  button.onclick = () => {
    allZones = !allZones;
    showZones(state);
  };
  say(at("zones-count"), `${settled} of ${many(ours(state).length, "zone")} at the newest plan`);
}

/** "yes" where all are at the newest plan, "no" where some are not, "unknown" where nobody can say. */
function reached(generations, state, known) {
  if (!known || generations.length === 0) return "unknown";
  return generations.every((one) => one >= state.head) ? "yes" : "no";
}

function step(name, text, how) {
  say(at(`step-${name}`), text);
  mark(at(`step-${name}`).parentElement, "data-reached", how);
}

/** How many names of a zone were seen otherwise than they should be, on the server where they are most. */
function amissIn(seen) {
  if (!seen) return 0;
  return Math.max(seen.drifted + seen.unread, ...seen.servers.map((server) => server.behind));
}

function zoneRow() {
  const [name, fence, applied, state] = ["th", "td", "td", "td"].map((tag) => h(tag));
  name.scope = "row";
  const row = h("tr", {}, name, fence, applied, state);
  fence.dataset.label = "Fence";
  applied.dataset.label = "Applied";
  row.renew = (zone) => {
    say(name, zone.zone);
    say(fence, generation(zone.fence));
    say(applied, generation(zone.applied));
    const amiss = zone.state === "applied" ? zone.amiss : 0;
    say(state, amiss ? `${MEANS.applied}, ${count(amiss)} served otherwise` : (MEANS[zone.state] ?? zone.state));
    mark(row, "data-state", amiss ? "behind" : zone.state.replaceAll(" ", "-"));
  };
  return row;
}
