// The picture: listeners on the left, clusters with their endpoints and nodes on the right, and lines between them; and who
// was the writer when.

import { el, show } from "./dom.js";
import { ago, bytes, count, duration, server, time } from "./words.js";

const ROLES = { primary: "primary", standby: "standby" };
/** Reasons for a fence. */
const FENCES = { moved: "the writer was moved", replaced: "the writer was replaced", two_writers: "accepts writes beside the writer" };
/** Bytes that an insert position may be ahead of all WAL: a page header. */
const CAUGHT_UP = 64;

/** Sentences at the top: the writer now and a minute ago, and faults. */
export function headline(picture) {
  const { topology, readiness, info } = picture;
  const [term] = topology.writers;
  const alarms = [];
  if (topology.move !== null) alarms.push(`The writer moves to ${topology.move.to} (${topology.move.phase}): new transactions wait.`);
  if (topology.two_writers) alarms.push("Several servers accept writes. Data may be diverging: stop one of them.");
  for (const endpoint of topology.endpoints) {
    if (endpoint.role_mismatch) {
      const moved = endpoint.name === topology.appointed ? " The writer was moved to it: exchange the roles in the configuration, too." : "";
      alarms.push(`${endpoint.name} is declared ${endpoint.declared_role}, but its server reports ${endpoint.observed_role}.${moved}`);
    }
    if (endpoint.fenced !== null) alarms.push(`${endpoint.name} is fenced (${FENCES[endpoint.fenced] ?? endpoint.fenced}): it takes no writes until an operator ends the fence.`);
    if (endpoint.health === "down") alarms.push(`${endpoint.name} is down: ${endpoint.last_error ?? "no answer"}`);
  }
  for (const listener of readiness.listeners) {
    if (!listener.ready) alarms.push(`Listener ${listener.name} cannot serve: ${listener.problem}`);
  }
  if (info.draining) alarms.push("This Gatekeeper is shutting down.");
  return [
    el("p.writer", { "data-writer": term?.endpoint ?? "", "data-health": term?.health ?? "unknown" }, sentence(term)),
    el("p", { id: "minute" }, minuteAgo(topology.writers)),
    alarms.length > 0 ? el("ul.alarms", {}, [...new Set(alarms)].map((alarm) => el("li", {}, alarm))) : null,
  ];
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
  const { topology, info, readiness } = picture;
  const ready = new Map(readiness.listeners.map((listener) => [listener.name, listener]));
  const writer = topology.endpoints.find((endpoint) => endpoint.writer);
  return [
    el("div.listeners", {}, info.listeners.map((listener) => listenerCard(listener, ready.get(listener.name)))),
    el("div.clusters", {}, topology.clusters.map((cluster) =>
      el("article.cluster", {},
        el("h3", {}, cluster.name, cluster.region === null ? null : el("small", {}, ` ${cluster.region}`)),
        topology.endpoints.filter((endpoint) => endpoint.cluster === cluster.name)
          .map((endpoint) => endpointCard(endpoint, writer))))),
  ];
}

function listenerCard(listener, ready) {
  const target = ready?.endpoint ?? null;
  const problem = !ready?.ready ? "not ready" : ready.holding ? "holding clients" : null;
  return el("article.listener", { "data-target": target, class: `listener ${problem === null ? "" : "bad"}` },
    el("h4", {}, listener.name, problem === null ? null : el("span.badge.down", {}, problem)),
    el("p.route", {}, `${listener.route} → `, target === null ? "nowhere" : strong(target)),
    el("p.small", {}, listener.bind),
    el("p.small", {}, `${count(listener.clients, "client")} of ${listener.max_clients.toLocaleString()}, ${listener.auth}, TLS ${listener.tls}`));
}

function endpointCard(endpoint, writer) {
  const classes = ["endpoint", endpoint.health, endpoint.writer ? "writes" : ""].join(" ");
  const observed = endpoint.observed_role;
  return el("article.endpoint", { id: `endpoint-${endpoint.name}`, class: classes },
    el("div", {}, el("h4", {}, dot(endpoint.health), endpoint.name,
      endpoint.writer ? el("span.badge.writer", {}, "writer") : null,
      endpoint.fenced === null ? null : el("span.badge.down", {}, "fenced"),
      endpoint.role_mismatch ? el("span.badge.down", {}, `reports ${ROLES[observed] ?? "?"}`) : null),
    el("p", {}, el("span.role", { class: `role ${endpoint.declared_role}` }, endpoint.declared_role), ` ${endpoint.address}`),
    el("p.small", {}, healthWords(endpoint)),
    endpoint.last_error === null ? null : el("p.small.error", {}, endpoint.last_error),
    el("p.small", {}, [count(endpoint.sessions, "session"), freshness(endpoint, writer)].filter(Boolean).join(" · "))),
    endpoint.nodes.length === 0 ? null : el("ul.nodes", {}, endpoint.nodes.map((node) => nodeChip(node, endpoint, writer))));
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

/** Draws the lines from each listener to its current endpoint; a phone shows none. */
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
  const paths = [...mapElement.querySelectorAll(".listener[data-target]")].flatMap((listener) => {
    const target = document.getElementById(`endpoint-${listener.dataset.target}`);
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
