// The picture: listeners on the left, clusters with their endpoints and nodes on the right, and lines between them; and who
// was the writer when.

import { el, show } from "./dom.js";
import { ago, bytes, count, duration, left, percent, quoted, rates, server, time } from "./words.js";

const ROLES = { primary: "primary", standby: "standby" };
/** Bytes that an insert position may be ahead of all WAL: a page header. */
const CAUGHT_UP = 64;

/** Sentences at the top: the writer now and a minute ago, the traffic, and the faults. */
export function headline(picture) {
  const { topology, traffic, verdict } = picture;
  const [term] = topology.writers;
  return [
    el("p.writer", { "data-writer": term?.endpoint ?? "", "data-health": term?.health ?? "unknown" }, sentence(term)),
    el("p", { id: "minute" }, minuteAgo(topology.writers)),
    el("p", { id: "traffic" }, `In the last ${traffic.seconds < 55 ? duration(traffic.seconds) : "minute"}: ${rates(traffic.total)}.`),
    verdict.faults.length > 0 ? el("ul.faults", {}, verdict.faults.map(faultItem)) : null,
  ];
}

function faultItem(fault) {
  const since = fault.since === null ? null : el("small.since", {}, "since ", time(fault.since.at), ` (${duration(fault.since.age_seconds)})`);
  return el("li", { class: fault.severity, "data-kind": fault.kind },
    el("span.fault", {}, quoted(fault.text), " ", since), el("span.remedy", {}, quoted(fault.remedy)));
}

function sentence(term) {
  if (term === undefined || term.endpoint === null) {
    return ["No server accepts writes", term === undefined ? "" : [" since ", time(term.from.at), ` (${duration(term.from.age_seconds)})`], "."];
  }
  const since = [" since ", time(term.from.at), ` (${duration(term.from.age_seconds)})`];
  if (term.health === "down") return ["The writer ", strong(term.endpoint), " is down", since, ": no server accepts writes."];
  const unseen = term.health === "unknown" ? "; not confirmed by a probe yet" : "";
  return ["Writes go to ", strong(term.endpoint), place(term), since, unseen, "."];
}

function minuteAgo(terms) {
  const term = at(terms, 60);
  if (term === undefined) return "A minute ago this Gatekeeper was not running.";
  return ["A minute ago: ", took(term), "."];
}

/** The writer period `age` seconds ago. */
function at(terms, age) {
  return terms.find((term) => term.from.age_seconds >= age);
}

/** Summary of the writer of a period. */
function took(term) {
  if (term.endpoint === null) return "no server accepted writes";
  if (term.health === "down") return [strong(term.endpoint), " was the writer, and down: no server accepted writes"];
  return [strong(term.endpoint), place(term), " accepted writes"];
}

function place(term) {
  return term.node === null ? "" : ` (${server(term.node)})`;
}

function strong(name) {
  return el("strong", {}, name);
}

/** The server that accepted writes at the given time of day. */
export function answer(picture, value) {
  if (value === "") return "";
  const [hours, minutes, seconds = 0] = value.split(":").map(Number);
  const now = new Date(picture.now);
  const asked = new Date(picture.now);
  asked.setHours(hours, minutes, seconds, 999);
  // A time in the future means yesterday.
  if (asked - now > 60_000) asked.setDate(asked.getDate() - 1);
  const term = at(picture.topology.writers, Math.max(0, (now - asked) / 1000));
  if (term === undefined) return "Older than the history kept here: see the audit log.";
  return [took(term), "."];
}

/** History of the writer. */
export function writers(picture) {
  return el("ol.terms", {}, picture.topology.writers.map((term) => {
    const took = term.endpoint === null || term.health === "down" ? "nobody" : "";
    const length = term.from.age_seconds - (term.until?.age_seconds ?? 0);
    return el("li", { class: took, "data-writer": term.endpoint ?? "" },
      el("span.who", {}, term.endpoint === null ? "no writer" : strong(term.endpoint), place(term),
        term.health === "down" ? el("span.badge.down", {}, "down") : null),
      el("span.span", {}, time(term.from.at), " – ", term.until === null ? "now" : time(term.until.at)),
      el("span.length", {}, duration(length)));
  }));
}

/** Listeners, clusters, endpoints, nodes. */
export function map(picture) {
  const { topology, info, readiness, traffic } = picture;
  const ready = new Map(readiness.listeners.map((listener) => [listener.name, listener]));
  const writer = topology.endpoints.find((endpoint) => endpoint.writer);
  return [
    el("div.listeners", {}, info.listeners.map((listener) => listenerCard(listener, ready.get(listener.name), traffic))),
    el("div.clusters", {}, topology.clusters.map((cluster) =>
      el("article.cluster", {},
        el("h3", {}, cluster.name, cluster.region === null ? null : el("small", {}, ` ${cluster.region}`)),
        topology.endpoints.filter((endpoint) => endpoint.cluster === cluster.name)
          .map((endpoint) => endpointCard(endpoint, writer, traffic))))),
  ];
}

/**
 * Endpoints of a listener with their part of its statements: all of a split route, else the current one, then others that
 * were used within the last minute. `line`: statements go there now.
 */
function targets(listener, ready, traffic) {
  const shares = new Map(traffic.paths.filter((path) => path.listener === listener.name).map((path) => [path.endpoint, path.share]));
  const splits = listener.route.startsWith("split");
  const names = splits ? listener.targets : [ready?.endpoint ?? null].filter((name) => name !== null);
  const isUsed = (name) => splits && (shares.size === 0 || shares.has(name));
  return [...new Set([...names, ...shares.keys()])].map((name) => ({
    name,
    share: shares.get(name) ?? (shares.size === 0 ? null : 0),
    line: name === ready?.endpoint || isUsed(name),
  }));
}

function listenerCard(listener, ready, traffic) {
  const problem = !ready?.ready ? "not ready" : ready.holding ? "holding clients" : null;
  const reached = targets(listener, ready, traffic);
  return el("article.listener", { "data-targets": reached.filter((target) => target.line).map((target) => target.name).join(" "), class: `listener ${problem === null ? "" : "bad"}` },
    el("h4", {}, listener.name, problem === null ? null : el("span.badge.down", {}, problem)),
    el("p.route", {}, listener.route),
    reached.length === 0 ? el("p.route", {}, "→ nowhere") : el("ul.targets", {}, reached.map((target) =>
      el("li", {}, "→ ", strong(target.name), target.share === null ? null : el("small", {}, ` ${percent(target.share)}`)))),
    el("p.small", {}, listener.bind),
    el("p.small", {}, `${count(listener.clients, "client")} of ${listener.max_clients.toLocaleString()}, ${listener.auth}, TLS ${listener.tls}`),
    expiry(listener.certificates, []));
}

const USAGES = { ca: "CA", identity: "own certificate", peer: "server certificate" };

/** Ends of certificates, the first of each usage, and of the token that is used longest. */
function expiry(certificates, tokens) {
  const first = new Map();
  for (const { usage, expires } of certificates) {
    if (!(first.get(usage)?.in_seconds < expires.in_seconds)) first.set(usage, expires);
  }
  const ends = [...first].map(([usage, expires]) => [USAGES[usage] ?? usage, expires]);
  const [token] = tokens.toSorted((a, b) => b.expires.in_seconds - a.expires.in_seconds);
  if (token !== undefined) ends.push(["token", token.expires]);
  if (ends.length === 0) return null;
  return el("p.small", {}, ends.map(([what, expires], at) => [
    at === 0 ? "" : " · ",
    el("span", { class: expires.in_seconds < 7 * 86400 && what !== "token" ? "soon" : null, title: expires.at }, `${what} ${left(expires.in_seconds)}`),
  ]));
}

function endpointCard(endpoint, writer, traffic) {
  const classes = ["endpoint", endpoint.health, endpoint.writer ? "writes" : ""].join(" ");
  const observed = endpoint.observed_role;
  const used = traffic.endpoints.find((it) => it.endpoint === endpoint.name);
  return el("article.endpoint", { id: `endpoint-${endpoint.name}`, class: classes },
    el("div", {}, el("h4", {}, dot(endpoint.health), endpoint.name,
      endpoint.writer ? el("span.badge.writer", {}, "writer") : null,
      endpoint.fenced === null ? null : el("span.badge.down", {}, "fenced"),
      endpoint.role_mismatch ? el("span.badge.down", {}, `reports ${ROLES[observed] ?? "?"}`) : null),
    el("p", {}, el("span.role", { class: `role ${endpoint.declared_role}` }, endpoint.declared_role), ` ${endpoint.address}`),
    el("p.small", {}, [healthWords(endpoint), endpoint.server_version === null ? null : `PostgreSQL ${endpoint.server_version.split(" ")[0]}`].filter(Boolean).join(" · ")),
    endpoint.last_error === null ? null : el("p.small.error", {}, endpoint.last_error),
    el("p.small", {}, [count(endpoint.sessions, "session"), lag(endpoint) ?? freshness(endpoint, writer)].filter(Boolean).join(" · ")),
    used === undefined ? null : el("p.small", {}, rates(used)),
    expiry(endpoint.tls.certificates, endpoint.login.tokens?.kept ?? [])),
    endpoint.nodes.length === 0 ? null : el("ul.nodes", {}, endpoint.nodes.map((node) => nodeChip(node, endpoint, writer))));
}

/** Distance of a standby to its writer, in time and bytes. */
function lag({ lag }) {
  if (lag === null) return null;
  if (lag.seconds === 0) return "caught up";
  const seconds = lag.seconds < 10 ? `${lag.seconds.toFixed(1)} s` : duration(lag.seconds);
  const wal = lag.bytes === null ? "" : ` (${bytes(lag.bytes)})`;
  return `${lag.lower_bound ? "at least " : ""}${seconds} behind${wal}`;
}

function dot(health) {
  return el("span.dot", { class: `dot ${health}`, title: health });
}

function healthWords(endpoint) {
  const since = endpoint.health_since === null ? "" : ` for ${duration(endpoint.health_since.age_seconds)}`;
  const seen = endpoint.last_success === null ? "never seen" : `seen ${ago(endpoint.last_success.age_seconds)}`;
  return `${endpoint.health}${since}, ${seen}`;
}

function nodeChip(node, endpoint, writer) {
  const current = node.id === endpoint.node && endpoint.health === "up";
  const words = [ROLES[node.observed_role] ?? node.observed_role, freshness(node, writer), current ? null : `seen ${ago(node.last_seen.age_seconds)}`];
  return el("li", { class: current ? "current" : "" }, el("span", {}, server(node.id)), el("small", {}, words.filter(Boolean).join(" · ")));
}

/** WAL that a standby has yet to replay, by the last observations of both. */
function freshness(standby, writer) {
  if (standby.observed_role !== "standby" || !standby.position || !writer?.position) return null;
  const behind = writer.position.bytes - standby.position.bytes;
  return behind <= CAUGHT_UP ? "caught up" : `${bytes(behind)} behind`;
}

/** Draws the lines from each listener to its endpoints; a phone shows none. */
export function lines(mapElement) {
  const namespace = "http://www.w3.org/2000/svg";
  let svg = mapElement.parentElement.querySelector("svg.lines");
  if (svg === null) {
    svg = document.createElementNS(namespace, "svg");
    svg.setAttribute("class", "lines");
    svg.setAttribute("aria-hidden", "true");
    mapElement.parentElement.append(svg);
  }
  const ground = svg.getBoundingClientRect();
  const pairs = [...mapElement.querySelectorAll(".listener")].flatMap((listener) =>
    listener.dataset.targets.split(" ").filter(Boolean).map((name) => [listener, name]));
  const paths = pairs.flatMap(([listener, name]) => {
    const target = document.getElementById(`endpoint-${name}`);
    if (target === null) return [];
    const [from, to] = [listener.getBoundingClientRect(), target.getBoundingClientRect()];
    const [x1, y1] = [from.right - ground.left, from.top + from.height / 2 - ground.top];
    const [x2, y2] = [to.left - ground.left, to.top + Math.min(to.height / 2, 40) - ground.top];
    if (x2 <= x1) return [];
    const path = document.createElementNS(namespace, "path");
    const bend = (x2 - x1) / 2;
    path.setAttribute("d", `M${x1} ${y1} C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`);
    path.setAttribute("class", target.classList.contains("writes") ? "writes" : "reads");
    return [path];
  });
  show(svg, paths);
}
