// Shows each status snapshot of the stream, asks for the key if required, and marks outdated data.

import { el, show } from "./dom.js";
import * as lists from "./lists.js";
import * as topology from "./topology.js";
import { duration } from "./words.js";

const part = (id) => document.getElementById(id);

/** Milliseconds without a snapshot until the data counts as outdated. */
const OLD = 4000;
/** Milliseconds until a rejected stream is requested again. */
const AGAIN = 2000;

let stream = null;
let picture = null;
let seen = 0;
let withKey = false;
/** Order of the sessions chosen by the reader; `null` for that of the server. */
let order = null;

/** Words for the state of the service, with their colors. */
const STATES = {
  healthy: ["healthy", "good"],
  faulty: ["serving, with problems", "fair"],
  holding: ["holding clients", "bad"],
  not_ready: ["not ready", "bad"],
};
/** Marks of the colors in the title. */
const MARKS = { good: "", fair: "! ", bad: "✗ " };

function follow() {
  stream?.close();
  stream = new EventSource("/v1/stream");
  stream.addEventListener("picture", ({ data }) => {
    picture = JSON.parse(data);
    seen = performance.now();
    draw();
  });
  // The browser reconnects lost streams, but not rejected ones.
  stream.addEventListener("error", () => {
    if (stream.readyState === EventSource.CLOSED) refused();
  });
}

async function refused() {
  try {
    const { status } = await fetch("/v1/info");
    if (status === 401) return askForKey();
  } catch {
    // Not available yet.
  }
  setTimeout(follow, AGAIN);
}

function askForKey() {
  withKey = true;
  picture = null;
  part("page").hidden = true;
  part("logout").hidden = true;
  part("login").hidden = false;
  show(part("state"), "locked");
  part("state").className = "";
  part("key").focus();
}

function draw() {
  part("login").hidden = true;
  part("page").hidden = false;
  part("logout").hidden = !withKey;
  show(part("headline"), topology.headline(picture));
  show(part("map"), topology.map(picture));
  show(part("writers"), topology.writers(picture));
  show(part("answer"), topology.answer(picture, part("time").value));
  show(part("events"), lists.events(picture));
  show(part("sessions"), lists.sessions(picture, order));
  show(part("session-count"), lists.sessionCount(picture));
  show(part("pools"), lists.pools(picture));
  show(part("pool-count"), String(picture.pools.pools.length));
  const { version, started } = picture.info;
  show(part("about"), `Gatekeeper ${version}, up for ${duration(started.age_seconds)}. As JSON: `,
    ["verdict", "topology", "sessions", "pools", "events", "info"].map((name) => [el("a", { href: `/v1/${name}` }, `/v1/${name}`), " "]));
  topology.lines(part("map"));
  tell();
}

/** Shows the overall state, and whether the data is current. */
function tell() {
  if (picture === null) return;
  const age = performance.now() - seen;
  const old = age > OLD;
  document.body.classList.toggle("old", old);
  const [words, color] = old ? [`not live: last seen ${duration(age / 1000)} ago`, "bad"] : STATES[picture.verdict.state] ?? [picture.verdict.state, "fair"];
  show(part("state"), words);
  part("state").className = color;
  document.title = `${MARKS[color]}Gatekeeper`;
}

/** Shows the sessions in another order. */
function sortBy(next) {
  order = next;
  part("sort").value = order?.column ?? "";
  if (picture !== null) show(part("sessions"), lists.sessions(picture, order));
}

part("sessions").addEventListener("click", (event) => {
  const column = event.target.closest("[data-sort]")?.dataset.sort;
  if (column !== undefined) sortBy(lists.nextOrder(order, column));
});

show(part("sort"), ["", ...lists.sortColumns].map((column) => el("option", { value: column }, column === "" ? "importance" : column)));
part("sort").addEventListener("change", () => sortBy(part("sort").value === "" ? null : lists.nextOrder(null, part("sort").value)));

part("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const key = part("key").value;
  try {
    const answered = await fetch("/v1/login", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ key }),
    });
    if (answered.ok) {
      part("key").value = "";
      show(part("denied"));
      return follow();
    }
    show(part("denied"), answered.status === 401 ? "Wrong key." : `Login failed (${answered.status}): try again.`);
  } catch {
    show(part("denied"), "Gatekeeper does not respond: try again.");
  }
});

part("logout").addEventListener("click", async () => {
  stream?.close();
  await fetch("/v1/logout", { method: "POST" }).catch(() => null);
  askForKey();
});

part("when").addEventListener("submit", (event) => event.preventDefault());
part("time").addEventListener("input", () => {
  if (picture !== null) show(part("answer"), topology.answer(picture, part("time").value));
});
addEventListener("resize", () => picture !== null && topology.lines(part("map")));
setInterval(tell, 1000);
follow();
