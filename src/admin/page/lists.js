// Events, sessions and pools.

import { el } from "./dom.js";
import { ago, count, duration, quoted, time } from "./words.js";

/** Seconds after which an event without a current fault is past. */
const PAST = 60;

/** Recent events, newest first. Equal ones are one line with their number; mended ones are pale. */
export function events(picture) {
  const list = grouped(picture.events.events);
  if (list.length === 0) return el("p.empty", {}, "Nothing yet.");
  const { faults } = picture.verdict;
  const isCurrent = (event) => event.last.age_seconds < PAST || faults.some((fault) =>
    fault.since !== null && fault.since.age_seconds >= event.last.age_seconds - PAST &&
    (fault.endpoint ?? fault.listener) === (event.endpoint ?? event.listener));
  return el("ol.events", {}, list.map((event) =>
    el("li", { class: `${event.severity}${isCurrent(event) ? "" : " past"}`, "data-kind": event.kind },
      el("span.when", {}, time(event.last.at), el("small", {}, ` ${ago(event.last.age_seconds)}`)),
      el("span.text", {}, quoted(event.text),
        event.times > 1 ? el("span.badge", {}, `${event.times.toLocaleString()} × in ${duration(event.first.age_seconds - event.last.age_seconds)}`) : null))));
}

/** Events with equal texts as one, at the place of the newest. */
function grouped(events) {
  const groups = new Map();
  for (const event of events) {
    const key = `${event.kind} ${event.text}`;
    const newest = groups.get(key);
    if (newest === undefined) groups.set(key, { ...event });
    else [newest.times, newest.first] = [newest.times + event.times, event.first];
  }
  return [...groups.values()];
}

/** A table whose cells carry the names of their columns, for phones. A click on the head of a column in `sorted` sorts. */
function table(columns, rows, sorted = null) {
  const head = (column) => sorted === null || !(column in SORTS) ? column
    : el("button.sort", { type: "button", "data-sort": column }, column, sorted.column === column ? (sorted.down ? " ▾" : " ▴") : "");
  const order = (column) => sorted?.column === column ? (sorted.down ? "descending" : "ascending") : null;
  return el("table", {},
    el("thead", {}, el("tr", {}, columns.map((column) => el("th", { scope: "col", "aria-sort": order(column) }, head(column))))),
    el("tbody", {}, rows.map((cells) =>
      el("tr", {}, cells.map((cell, at) => el("td", { "data-column": columns[at] }, cell))))));
}

/** Keys of the columns by which sessions may be sorted. */
const SORTS = {
  id: (session) => session.id,
  user: (session) => session.user ?? "",
  database: (session) => session.database ?? "",
  application: (session) => session.application ?? "",
  client: (session) => session.client ?? "",
  listener: (session) => session.listener,
  backend: (session) => session.endpoint ?? "",
  state: (session) => session.state_since.age_seconds,
  transaction: (session) => session.transaction_since?.age_seconds ?? -1,
  "held by": (session) => session.pins.length,
  for: (session) => session.started.age_seconds,
};

/** Columns whose first click shows the greatest first. */
const DOWN_FIRST = ["state", "transaction", "held by", "for"];

/** The order after a click on the head of `column`: the other direction, then the order of the server again. */
export function nextOrder(order, column) {
  const down = DOWN_FIRST.includes(column);
  if (order?.column !== column) return { column, down };
  return order.down === down ? { column, down: !down } : null;
}

/** Columns by which sessions may be sorted. */
export const sortColumns = Object.keys(SORTS);

/** What a session does, and for how long. */
function stateWords(session) {
  const age = duration(session.state_since.age_seconds);
  if (session.waits_for === "writer") return `held for the writer ${age}`;
  if (session.waits_for === "backend") return `waiting ${age} for ${session.awaited_pool === null ? "a backend" : `pool ${session.awaited_pool}`}`;
  return `${session.state} ${age}`;
}

/** Seconds in which a client between two statements of a transaction is no fault. */
const IDLE_IN_TRANSACTION = 10;

function stateClass(session) {
  if (session.waits_for !== null) return "state waits";
  if (session.state.startsWith("idle in") && session.state_since.age_seconds >= IDLE_IN_TRANSACTION) return "state stuck";
  return session.state === "idle" ? "state" : "state busy";
}

/** Some of the sessions, in the order of the server or in the reader's. */
export function sessions(picture, order) {
  const list = [...picture.sessions.sessions];
  if (list.length === 0) return el("p.empty", {}, "No logged-in clients.");
  if (order !== null) {
    const key = SORTS[order.column];
    const compare = (a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : a.id - b.id);
    list.sort((a, b) => (order.down ? compare(b, a) : compare(a, b)));
  }
  const columns = ["id", "user", "database", "application", "client", "listener", "backend", "state", "transaction", "held by", "for"];
  return table(columns, list.map((session) => [
    String(session.id),
    session.user ?? "–",
    session.database ?? "–",
    session.application ?? "–",
    [session.client ?? "local", session.tls === null ? "" : el("small", {}, ` ${session.tls}`)],
    session.listener,
    session.endpoint === null ? el("small", {}, "none now") : [session.endpoint, session.backend_pid === null ? "" : el("small", {}, ` pid ${session.backend_pid}`)],
    el("span", { class: stateClass(session) }, stateWords(session)),
    session.transaction_since === null ? "–" : duration(session.transaction_since.age_seconds),
    session.pins.length === 0 ? "–" : session.pins.map((pin) => el("span.badge.pin", {}, pin.replaceAll("_", " "))),
    duration(session.started.age_seconds),
  ]), order ?? { column: null });
}

/** Number of sessions, and number of sessions shown. */
export function sessionCount(picture) {
  const { total, sessions: shown } = picture.sessions;
  return shown.length < total ? `${shown.length} of ${total.toLocaleString()}: those that wait, those in a transaction, those held to a backend, those at work, the newest` : String(total);
}

/** The pools. */
export function pools(picture) {
  const list = picture.pools.pools;
  if (list.length === 0) return el("p.empty", {}, "No pools yet.");
  const columns = ["listener", "database as user", "endpoint", "mode", "in use", "idle", "of", "waiting", "state"];
  return table(columns, list.map((pool) => [
    pool.listener,
    `${pool.database} as ${pool.user}`,
    pool.endpoint,
    pool.mode,
    [String(pool.backends.leased), " ", el("meter", { min: 0, max: pool.size, value: pool.backends.leased, high: pool.size * 0.9 })],
    String(pool.backends.idle),
    String(pool.size),
    pool.waiting === 0 ? "0" : el("span.badge.down", {}, `${count(pool.waiting, "session")}, ${duration(pool.longest_wait_seconds)}`),
    [pool.state, pool.last_error === null ? "" : el("p.small.error", {}, pool.last_error)],
  ]));
}
