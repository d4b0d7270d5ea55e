// Numbers and times in words.

import { el } from "./dom.js";

/** `2 min 13 s`: two units at most. */
export function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** A text whose parts in backticks are code. */
export function quoted(text) {
  return text.split("`").map((part, at) => (at % 2 === 1 ? el("code", {}, part) : part));
}

/** `ends in 42 min`, `ended 3 d ago`: one unit. */
export function left(seconds) {
  const short = duration(Math.abs(seconds)).split(" ").slice(0, 2).join(" ");
  return seconds < 0 ? `ended ${short} ago` : `ends in ${short}`;
}

/** `38 %`. */
export function percent(share) {
  return share > 0 && share < 0.01 ? "< 1 %" : `${Math.round(share * 100)} %`;
}

/** `3.2 ms`, `1.5 s`. */
function brief(seconds) {
  if (seconds >= 1) return `${seconds.toFixed(1)} s`;
  const ms = seconds * 1000;
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

/** `120 statements/s, 0.2 errors/s, p99 3.2 ms`. */
export function rates(traffic) {
  const each = (rate) => (rate > 0 && rate < 10 ? rate.toFixed(rate < 0.1 ? 2 : 1) : Math.round(rate).toLocaleString());
  return [
    `${each(traffic.statements_per_second)} statements/s`,
    `${each(traffic.errors_per_second)} errors/s`,
    traffic.refused > 0 ? `${traffic.refused.toLocaleString()} refused` : null,
    traffic.p99_seconds === null ? null : `p99 ${brief(traffic.p99_seconds)}`,
  ].filter(Boolean).join(", ");
}

/** `2 min ago`: one unit. */
export function ago(seconds) {
  return seconds < 1 ? "now" : `${duration(seconds).split(" ").slice(0, 2).join(" ")} ago`;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

/** A moment on this browser's clock; the day too, unless it was today. */
export function time(at) {
  const date = new Date(at);
  const today = date.toDateString() === new Date().toDateString();
  return el("time", { datetime: at, title: at }, (today ? "" : `${day.format(date)} `) + clock.format(date));
}

/** `1.2 MB`. */
export function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let [value, unit] = [count, 0];
  while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** `1 session`, `2 sessions`. */
export function count(number, noun) {
  return `${number.toLocaleString()} ${noun}${number === 1 ? "" : "s"}`;
}

/** A node's id without the time at which its server started. */
export function server(node) {
  return node === null || node === undefined ? null : node.split("@")[0];
}
