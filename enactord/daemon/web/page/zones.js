/** Generations: how far the newest plan has come, over all and zone by zone. */

import { at, h, list, mark, say } from "./dom.js";
import { ours, range } from "./verdict.js";
import { generation, many } from "./words.js";

const FEW = 8;
const ORDER = { "never opened": 0, applying: 1, behind: 2, applied: 3, "not in this config": 4 };
const MEANS = {
  applied: "at the newest plan",
  applying: "being applied",
  behind: "a newer plan is to come",
  "never opened": "no plan has been opened here yet",
  "not in this config": "not in this enactor's config; see: enactorctl zone retire",
};
let allZones = false;

/** Show the generations of a state. */
export function showZones(state) {
  const fences = ours(state).map((zone) => zone.fence);
  const applied = ours(state).map((zone) => zone.applied);
  step("head", generation(state.head), true);
  step("fence", range(fences), fences.every((fence) => fence >= state.head));
  step("applied", range(applied), applied.every((one) => one >= state.head));
  step("verified", generation(state.self.verified), state.self.verified >= state.head);

  const zones = [...state.zones].sort((a, b) => ORDER[a.state] - ORDER[b.state] || (a.zone < b.zone ? -1 : 1));
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

function step(name, text, reached) {
  say(at(`step-${name}`), text);
  mark(at(`step-${name}`).parentElement, "data-reached", reached ? "yes" : "no");
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
    say(state, MEANS[zone.state] ?? zone.state);
    mark(row, "data-state", zone.state.replaceAll(" ", "-"));
  };
  return row;
}
