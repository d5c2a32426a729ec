/** The line to the enactor: its events, and what is asked of it. */

const EVENTS = "/api/v1/events";
const SILENCE_MS = 13000;
const AGAIN_MS = [1000, 2000, 4000, 8000];

/**
 * Follow the events: `hear.state(document)`, `.news(document)`, `.reset()`, `.beat(at)`, and
 * `.link(connected)`. A line that has gone silent counts as lost: what is shown would be old.
 */
export function follow(hear) {
  let source = null;
  let last = "0";
  let failures = 0;
  let silence = 0;

  function heard() {
    failures = 0;
    clearTimeout(silence);
    silence = setTimeout(lost, SILENCE_MS);
    hear.link(true);
  }

  function lost() {
    clearTimeout(silence);
    source?.close();
    source = null;
    hear.link(false);
    const wait = AGAIN_MS[Math.min(failures, AGAIN_MS.length - 1)];
    failures += 1;
    setTimeout(connect, wait * (0.5 + Math.random() / 2));
  }

  function connect() {
    source = new EventSource(`${EVENTS}?after=${encodeURIComponent(last)}`);
    source.addEventListener("error", lost);
    source.addEventListener("heartbeat", (message) => {
      heard();
      hear.beat(JSON.parse(message.data).at);
    });
    source.addEventListener("state", (message) => {
      heard();
      hear.state(JSON.parse(message.data));
    });
    source.addEventListener("news", (message) => {
      heard();
      last = message.lastEventId;
      hear.news(JSON.parse(message.data));
    });
    source.addEventListener("reset", () => {
      heard();
      hear.reset();
    });
  }

  addEventListener("pagehide", () => source?.close());
  connect();
}

/** Ask for a JSON document. Throws an Error whose message is for people. */
export async function ask(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "" && value !== null);
  const query = new URLSearchParams(given).toString();
  let answer;
  try {
    answer = await fetch(`/api/v1/${path}${query && "?"}${query}`, { signal: AbortSignal.timeout(30000) });
  } catch {
    throw new Error("the enactor does not answer");
  }
  const document = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(document.detail ?? `answered ${answer.status}`);
  return document;
}

/** A function that does its work soon after it is called, once for many calls, and never twice at a time. */
export function soon(work, pauseMs) {
  let planned = false;
  let running = false;
  let again = false;
  return function plan() {
    if (running) again = true;
    if (planned || running) return;
    planned = true;
    setTimeout(async () => {
      planned = false;
      running = true;
      try {
        await work();
      } finally {
        running = false;
        if (again) {
          again = false;
          plan();
        }
      }
    }, pauseMs);
  };
}
