// Events, sessions and pools.

import { el } from "./dom.js";
import { ago, count, duration, time } from "./words.js";

/** Recent events, newest first. */
export function events(picture) {
  const list = picture.events.events;
  if (list.length === 0) return el("p.empty", {}, "Nothing yet.");
  return el("ol.events", {}, list.map((event) =>
    el("li", { class: event.severity, "data-kind": event.kind },
      el("span.when", {}, time(event.last.at), el("small", {}, ` ${ago(event.last.age_seconds)}`)),
      el("span.text", {}, event.text,
        event.times > 1 ? el("span.badge", {}, `${event.times.toLocaleString()} × in ${duration(event.first.age_seconds - event.last.age_seconds)}`) : null))));
}

/** A table whose cells carry the names of their columns, for phones. */
function table(columns, rows) {
  return el("table", {},
    el("thead", {}, el("tr", {}, columns.map((column) => el("th", { scope: "col" }, column)))),
    el("tbody", {}, rows.map((cells) =>
      el("tr", {}, cells.map((cell, at) => el("td", { "data-column": columns[at] }, cell))))));
}

/** Some of the sessions: pinned sessions first, then active ones. */
export function sessions(picture) {
  const list = picture.sessions.sessions;
  if (list.length === 0) return el("p.empty", {}, "No logged-in clients.");
  const columns = ["id", "user", "database", "application", "client", "listener", "backend", "state", "held by", "for"];
  return table(columns, list.map((session) => [
    String(session.id),
    session.user ?? "–",
    session.database ?? "–",
    session.application ?? "–",
    [session.client ?? "local", session.tls === null ? "" : el("small", {}, ` ${session.tls}`)],
    session.listener,
    session.endpoint === null ? el("small", {}, "none now") : [session.endpoint, session.backend_pid === null ? "" : el("small", {}, ` pid ${session.backend_pid}`)],
    el("span.state", { class: session.state === "idle" ? "state" : "state busy" }, session.state),
    session.pins.length === 0 ? "–" : session.pins.map((pin) => el("span.badge.pin", {}, pin.replaceAll("_", " "))),
    duration(session.started.age_seconds),
  ]));
}

/** Number of sessions, and number of sessions shown. */
export function sessionCount(picture) {
  const { total, sessions: shown } = picture.sessions;
  return shown.length < total ? `${shown.length} of ${total.toLocaleString()}: those held to a backend, those at work, the newest` : String(total);
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
