/** Endpoints: those that are held, and all of them by state, with search. */

import { at, h, list, mark, put, say } from "./dom.js";
import { clock, contentChanges, count, many, numbers, since } from "./words.js";
import { ask } from "./wire.js";

const PAGE = 20;
const STATES = ["", "applied", "pending", "held", "amiss"];
/** How a name was last seen, in words; "well" needs none. */
const SEEN = { drifted: "drifted", behind: "behind", "not yet read": "not read yet", covered: "covered", unknown: "unknown" };
let wanted = PAGE;
let filter = "";
let question = 0;

/** Have search and filters ask anew. */
export function listenEndpoints() {
  let typed = 0;
  at("search").addEventListener("input", () => {
    clearTimeout(typed);
    typed = setTimeout(() => askAnew(), 150);
  });
  at("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    askAnew();
  });
  for (const one of STATES) at(`state-${one || "all"}`).addEventListener("click", () => choose(one));
  at("endpoints-more").addEventListener("click", () => {
    wanted += PAGE * 5;
    readEndpoints();
  });
  addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLInputElement;
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      at("search").focus();
    }
  });
}

function choose(one) {
  filter = one;
  for (const other of STATES) mark(at(`state-${other || "all"}`), "aria-pressed", String(other === one));
  askAnew();
}

function askAnew() {
  wanted = PAGE;
  readEndpoints();
}

/** Show how many there are in each state, and how many were seen otherwise than they should be. */
export function showCounts(endpoints, amiss) {
  say(at("count-amiss"), count(amiss));
  mark(at("state-amiss"), "data-some", amiss ? "yes" : null);
  for (const name of ["applied", "pending", "held"]) {
    say(at(`count-${name}`), count(endpoints[name]));
    const part = at(`part-${name}`);
    part.style.flexGrow = String(endpoints[name]);
    part.hidden = endpoints[name] === 0;
  }
  say(at("count-all"), count(endpoints.total));
}

/** Read the endpoints that are searched for and show them. An answer to an older question is dropped. */
export async function readEndpoints() {
  question += 1;
  const mine = question;
  const search = at("search").value.trim();
  try {
    const found = await ask("endpoints", { search, state: filter, limit: Math.min(wanted, 500) });
    if (mine !== question) return;
    list(at("endpoints"), found.endpoints, (endpoint) => endpoint.name, () => endpointRow());
    const what = `${many(found.total, "endpoint")}${filter && ` ${filter}`}${search && ` with “${search}”`}`;
    say(at("found"), search || filter ? `${what} found` : "");
    say(at("endpoints-note"), found.total ? "" : search || filter ? "None found." : "The ledger holds no endpoint yet.");
    const left = found.total - found.endpoints.length;
    at("endpoints-more").hidden = left === 0 || wanted >= 500;
    say(at("endpoints-more"), `Show more of ${count(left)} left`);
  } catch (error) {
    if (mine === question) say(at("endpoints-note"), `The endpoints cannot be read: ${error.message}.`);
  }
}

/** Read what is held and show it, above all else: each guard once, with one of its names. */
export async function readHeld(held) {
  at("held-section").hidden = held === 0;
  if (held === 0) return;
  try {
    const found = await ask("holds");
    list(at("held"), found.groups, (group) => group.guard, heldRow);
    say(at("held-note"), "");
  } catch (error) {
    say(at("held-note"), `They cannot be read: ${error.message}.`);
  }
}

function heldRow() {
  const many_ = h("b", {});
  const guard = h("span", { class: "tag", "data-tag": "held" });
  const name = h("span", { class: "name" });
  const detail = h("p", { class: "reason" });
  const facts = h("p", { class: "quiet" });
  const all = h("button", { type: "button", click: () => choose("held") }, "Show them");
  const node = h("li", { class: "held" }, h("p", { class: "title" }, guard, " ", many_, " ", name), detail, facts, all);
  let shown = "";
  node.renew = (group) => {
    const { example } = group;
    const key = JSON.stringify([group.count, example.name, example.held, example.generation, example.addresses]);
    if (key === shown) return;
    shown = key;
    const hold = example.held;
    say(guard, group.guard);
    say(many_, group.count > 1 ? `${many(group.count, "endpoint")}, for example` : "");
    say(name, example.name);
    put(detail, ...numbers(hold.detail));
    put(
      facts,
      `Held from plan ${hold.generation} `,
      since(hold.since, "for"),
      example.owned
        ? `. Serves ${many(example.addresses.length, "address", "addresses")} of plan ${example.generation}.`
        : ". Not served: it is new.",
    );
    all.hidden = group.count === 1;
  };
  return node;
}

function endpointRow() {
  const dot = h("span", { class: "dot", "aria-hidden": "true" });
  const name = h("span", { class: "name" });
  const what = h("span", { class: "what" });
  const number = h("span", { class: "number" });
  const tag = h("span", { class: "tag" });
  const body = h("div", { class: "body" });
  const details = h("details", { class: "endpoint", toggle: () => details.open && fill() }, h("summary", {}, dot, name, what, number, tag), body);
  const node = h("li", {}, details);
  let latest = null;
  let shown = "";
  const fill = () => fillEndpoint(body, latest.name);
  node.renew = (endpoint) => {
    latest = endpoint;
    const key = JSON.stringify(endpoint);
    if (key === shown) return;
    const first = shown === "";
    shown = key;
    const state = stateOf(endpoint);
    mark(details, "data-state", state);
    say(name, endpoint.name);
    say(what, summaryOf(endpoint));
    say(number, endpoint.owned ? `plan ${endpoint.generation}` : "new");
    say(tag, state);
    mark(tag, "data-tag", state.replaceAll(" ", "-"));
    if (!first && details.open) fill();
  };
  return node;
}

/** One word for an endpoint: what the ledger says of it, and where that is "applied", how it was last seen. */
function stateOf(endpoint) {
  return endpoint.state === "applied" ? (SEEN[endpoint.served.state] ?? "applied") : endpoint.state;
}

function summaryOf(endpoint) {
  const { instead, behind } = endpoint.served;
  if (instead) return `serves ${instead.served.join(", ") || "nothing"} instead of ${instead.wanted.join(", ")}`;
  if (behind.length) return `older on ${behind.join(", ")}`;
  const addresses = endpoint.addresses;
  if (addresses.length === 0) return endpoint.owned ? "withdrawn" : "not served yet";
  const rest = addresses.length - 2;
  const over = endpoint.overrides.map((one) => one.what).join(", ");
  return (over && `overridden (${over}): `) + addresses.slice(0, 2).join(", ") + (rest > 0 ? ` +${rest}` : "");
}

/** Show all that is known of one endpoint. */
async function fillEndpoint(body, name) {
  const path = `endpoints/${encodeURIComponent(name)}`;
  mark(body, "aria-busy", "true");
  try {
    const [endpoint, history] = await Promise.all([ask(path), ask(`${path}/history`)]);
    put(body, ...endpointNodes(endpoint, history));
  } catch (error) {
    put(body, h("p", { class: "quiet" }, `It cannot be read: ${error.message}.`));
  } finally {
    mark(body, "aria-busy", null);
  }
}

function endpointNodes(endpoint, history) {
  const { served } = endpoint;
  const rows = [
    ["Zone", endpoint.zone],
    ["Applied", endpoint.addresses.join(", ") || "nothing"],
    ["Seen", served.at ? [`${served.state}, looked at `, since(served.at)] : "not looked at yet"],
    served.instead && ["Served instead", served.instead.served.join(", ") || "nothing"],
    served.behind.length > 0 && ["Older on", served.behind.join(", ")],
    ["TTL", endpoint.content ? `${endpoint.content.ttl_s} s` : "–"],
    ["Last known good", endpoint.good === null ? "none seen served yet" : `plan ${endpoint.good}${endpoint.seen ? ", which is what is applied" : ""}`],
  ].filter(Boolean);
  const nodes = [];
  if (endpoint.held) {
    nodes.push(h("p", { class: "reason" }, h("b", {}, `${endpoint.held.guard}: `), ...numbers(endpoint.held.detail)));
  }
  for (const one of endpoint.overrides) {
    const told = `Overridden by ${one.author} until ${clock(one.until)} UTC (${one.what}): ${one.reason}. To end it: `;
    nodes.push(h("p", { class: "reason" }, told, h("code", {}, `enactorctl override end ${one.id}`)));
  }
  nodes.push(h("dl", {}, rows.map(([term, text]) => [h("dt", {}, term), h("dd", {}, text)])));
  if (endpoint.wanted) {
    const awaited = endpoint.pending ?? endpoint.held.generation;
    nodes.push(h("p", { class: "quiet" }, `Plan ${awaited} wants:`), changeList(endpoint.content, endpoint.wanted));
  }
  const changes = history.plans.slice(0, 5);
  if (changes.length > 0) {
    nodes.push(h("p", { class: "quiet" }, "Changed by the stored plans:"));
    nodes.push(h("ul", { class: "history" }, changes.map((change, index) => historyRow(change, history.plans[index + 1]))));
  }
  return nodes;
}

function historyRow(change, before) {
  const when = change.published_at ? since(change.published_at) : null;
  const title = h("p", {}, h("b", {}, `plan ${change.generation}`), change.author && ` by ${change.author} `, when);
  if (change.unreadable) return h("li", {}, title, h("p", {}, change.unreadable));
  if (change.content === null) return h("li", {}, title, h("p", { class: "quiet" }, "does not have the name"));
  return h("li", {}, title, changeList(before?.content ?? null, change.content));
}

function changeList(before, after) {
  const lines = contentChanges(before, after);
  return h("ul", { class: "lines" }, lines.map(([sign, text]) => h("li", { "data-sign": sign }, `${sign} ${text}`)));
}
