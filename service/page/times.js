// Times of posts: how long ago, and the full date as the viewer writes it.

import { language } from "/words.js";

const UNITS = [["year", 31_557_600], ["month", 2_629_800], ["week", 604_800], ["day", 86_400], ["hour", 3600], ["minute", 60]];

/** The viewer's locale, with its region: `en-GB` writes dates in another order than `en-US`. */
const locale = (navigator.languages ?? []).find((tag) => tag.slice(0, 2).toLowerCase() === language) ?? language;
const relative = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
const complete = new Intl.DateTimeFormat(locale, { dateStyle: "full", timeStyle: "short" });

/** UUIDs of version 7 begin with their creation time in milliseconds. */
export function timeOf(id) {
  return id[14] === "7" ? new Date(parseInt(id.replace("-", "").slice(0, 12), 16)) : null;
}

export function ago(time) {
  const seconds = (time - Date.now()) / 1000;
  const [unit, length] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", Infinity];
  return relative.format(Math.round(seconds / length) || 0, unit);
}

export function fullDate(time) {
  return complete.format(time);
}

/** Keeps the times below an element up to date. */
export function keepTimes(root) {
  setInterval(() => {
    for (const time of root.querySelectorAll("time")) {
      const text = ago(new Date(time.dateTime));
      // Most stay as they are, and would be laid out again.
      if (time.textContent !== text) time.textContent = text;
    }
  }, 60_000);
}
