/** The status page of an enactor: each part shows one side of the state that the events bring. */

import { readActs } from "./acts.js";
import { at, h, list, mark, put, say, visible } from "./dom.js";
import { showEnactors } from "./enactors.js";
import { listenEndpoints, readEndpoints, readHeld, showCounts } from "./endpoints.js";
import { forgetNews, showNews, showRepairs, tellNews } from "./news.js";
import { readPlans } from "./plans.js";
import { showRefused } from "./refused.js";
import { frozenMeans, verdict } from "./verdict.js";
import { follow, soon } from "./wire.js";
import { clock, now, setClock, since, tick } from "./words.js";
import { showZones } from "./zones.js";

let state = null;
let heardAt = 0;
let plansKey = "";
let endpointsKey = "";
let actsKey = "";

const renewPlans = soon(readPlans, 250);
const renewActs = soon(async () => state.self.store_up && readActs(), 500);
const renewNews = soon(async () => showNews(), 50);
const renewEndpoints = soon(async () => {
  await readHeld(state.endpoints.held);
  await readEndpoints();
}, 500);

follow({
  state(document) {
    state = document;
    heardAt = now();
    show();
  },
  news(document) {
    tellNews(document);
    renewNews();
  },
  reset() {
    forgetNews();
    renewNews();
    actsKey = endpointsKey = plansKey = "";
  },
  beat(seconds) {
    setClock(seconds);
    heardAt = seconds;
  },
  link: showLink,
});
listenEndpoints();
setInterval(tick, 1000);
setInterval(() => document.hidden || (state && renewActs()), 60000); // not every deed shows in the state
addEventListener("visibilitychange", () => state && show());

function show() {
  document.body.dataset.ready = "yes";
  const said = verdict(state);
  document.body.dataset.level = said.level;
  document.body.dataset.store = state.self.store_up ? "up" : "away";
  document.title = visible(`${state.frozen ? "FROZEN " : ""}${{ ok: "", busy: "… ", warn: "! ", bad: "!! " }[said.level]}${state.head} · ${state.scope} · enactord`);
  say(at("scope"), state.scope);
  say(at("self"), state.self.id);
  say(at("version"), `enactord ${state.self.version}`);
  say(at("installation"), state.installation ?? "none yet");
  say(at("verdict"), said.title);
  list(at("points"), said.points, (point) => point, (point) => h("li", {}, point));
  showFreeze(state.frozen);
  showRefused(state.refused);
  showZones(state);
  showEnactors(state);
  showCounts(state.endpoints, state.self.amiss);
  showRepairs(state.self);
  if (document.hidden) return; // a page that nobody looks at asks for nothing
  const plans = JSON.stringify([state.head, state.plans, state.zones, state.claims]);
  if (plans !== plansKey) renewPlans();
  plansKey = plans;
  const endpoints = JSON.stringify([state.endpoints, state.head, state.zones, state.self.amiss, state.self.looked_at, state.self.zones]);
  if (endpoints !== endpointsKey) renewEndpoints();
  endpointsKey = endpoints;
  const acts = JSON.stringify([state.self.store_up, state.head, state.frozen, state.paused, state.retired]);
  if (acts !== actsKey) renewActs();
  actsKey = acts;
}

let frozenKey = "null";

function showFreeze(frozen) {
  const key = JSON.stringify(frozen);
  if (key === frozenKey) return;
  frozenKey = key;
  const banner = at("freeze");
  banner.hidden = frozen === null;
  if (frozen === null) return;
  put(
    at("freeze-text"),
    h("b", {}, frozen.mode === "all" ? "Frozen" : "Frozen, repair only"),
    ` by ${frozen.author || "somebody"} `,
    since(frozen.since),
    frozen.reason ? `: ${frozen.reason}` : "",
  );
  say(at("freeze-means"), frozenMeans(frozen.mode));
}

function showLink(connected) {
  mark(document.body, "data-link", connected ? "live" : "lost");
  say(at("link"), connected ? "connected" : "not connected");
  const lost = at("lost");
  lost.hidden = connected;
  const seen = heardAt ? `What is shown is as of ${clock(heardAt)} UTC. ` : "";
  if (!connected) say(at("lost-text"), `No connection to this enactor. ${seen}Trying again.`);
}
