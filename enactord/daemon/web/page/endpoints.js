/** Endpoints: those that are held, and all of them by state, with search. */

import { at, h, list, mark, put, say } from "./dom.js";
import { contentChanges, count, many, numbers, since } from "./words.js";
import { ask } from "./wire.js";

const PAGE = 20;
const HELD = 10;
const STATES = ["", "applied", "pending", "held"];
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
  at("held-more").addEventListener("click", () => {
    choose("held");
    at("search").focus();
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

/** Show how many there are in each state. */
export function showCounts(endpoints) {
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

/** Read what is held and show it, above all else. */
export async function readHeld(held) {
  at("held-section").hidden = held === 0;
  if (held === 0) return;
  try {
    const found = await ask("endpoints", { state: "held", limit: HELD });
    list(at("held"), found.endpoints, (endpoint) => endpoint.name, heldRow);
    const left = found.total - found.endpoints.length;
    at("held-more").hidden = left === 0;
    say(at("held-more"), `Show ${count(left)} more`);
    say(at("held-note"), "");
  } catch (error) {
    say(at("held-note"), `They cannot be read: ${error.message}.`);
  }
}

function heldRow() {
  const name = h("span", { class: "name" });
  const guard = h("span", { class: "tag", "data-tag": "held" });
  const detail = h("p", { class: "reason" });
  const facts = h("p", { class: "quiet" });
  const node = h("li", { class: "held" }, h("p", { class: "title" }, name, " ", guard), detail, facts);
  let shown = "";
  node.renew = (endpoint) => {
    const key = JSON.stringify([endpoint.held, endpoint.generation, endpoint.addresses]);
    if (key === shown) return;
    shown = key;
    const hold = endpoint.held;
    say(name, endpoint.name);
    say(guard, hold.guard);
    put(detail, ...numbers(hold.detail));
    put(
      facts,
      `Held from plan ${hold.generation} `,
      since(hold.since, "for"),
      endpoint.owned
        ? `. Serves ${many(endpoint.addresses.length, "address", "addresses")} of plan ${endpoint.generation}.`
        : ". Not served: it is new.",
    );
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
    mark(details, "data-state", endpoint.state);
    say(name, endpoint.name);
    say(what, summaryOf(endpoint));
    say(number, endpoint.owned ? `plan ${endpoint.generation}` : "new");
    say(tag, endpoint.state);
    mark(tag, "data-tag", endpoint.state);
    if (!first && details.open) fill();
  };
  return node;
}

function summaryOf(endpoint) {
  const addresses = endpoint.addresses;
  if (addresses.length === 0) return endpoint.owned ? "withdrawn" : "not served yet";
  const rest = addresses.length - 2;
  return addresses.slice(0, 2).join(", ") + (rest > 0 ? ` +${rest}` : "");
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
  const rows = [
    ["Zone", endpoint.zone],
    ["Serves", endpoint.addresses.join(", ") || "nothing"],
    ["TTL", endpoint.content ? `${endpoint.content.ttl_s} s` : "–"],
    ["Last known good", endpoint.good === null ? "none seen served yet" : `plan ${endpoint.good}${endpoint.seen ? ", which is what is applied" : ""}`],
  ];
  const nodes = [];
  if (endpoint.held) {
    nodes.push(h("p", { class: "reason" }, h("b", {}, `${endpoint.held.guard}: `), ...numbers(endpoint.held.detail)));
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
