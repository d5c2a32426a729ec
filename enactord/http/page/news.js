/** What happened: repairs, and the news as they come. */

import { at, h, list, say } from "./dom.js";
import { numbers, since } from "./words.js";

const KEPT = 200;
const NEWS_SHOWN = 12;
let told = [];
let all = false;

/** Take in one piece of news. */
export function tellNews(news) {
  told.unshift(news);
  told.length = Math.min(told.length, KEPT);
}

/** Forget the news: some are missing between these and what comes. */
export function forgetNews() {
  told = [];
}

/** Show the news, newest first. */
export function showNews() {
  list(at("news"), all ? told : told.slice(0, NEWS_SHOWN), (news) => news.id, newsRow);
  at("news-none").hidden = told.length > 0;
  const button = at("news-more");
  button.hidden = told.length <= NEWS_SHOWN;
  say(button, all ? "Show fewer" : `Show all ${told.length}`);
  button.onclick = () => {
    all = !all;
    showNews();
  };
}

function newsRow(news) {
  return h(
    "li",
    { "data-severity": news.severity },
    since(news.at, "clock"),
    h("span", { class: "dot", role: "img", "aria-label": news.severity }),
    h("span", { class: "text" }, ...numbers(news.text)),
  );
}

/** Show the names that this enactor put back, newest first. */
export function showRepairs(self) {
  list(at("repairs"), self.repairs, (repair) => `${repair.at} ${repair.name}`, repairRow);
  at("repairs-none").hidden = self.repairs.length > 0;
  say(at("repairs-none"), `${self.id} has put back nothing since it started.`);
}

function repairRow(repair) {
  return h(
    "li",
    { "data-kind": repair.kind },
    since(repair.at),
    h("span", { class: "name" }, repair.name),
    h("span", { class: "tag", "data-tag": repair.kind }, repair.kind),
    h("span", { class: "quiet" }, `fence ${repair.generation}`),
  );
}
