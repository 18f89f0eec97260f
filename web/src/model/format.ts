// Text for people. Prices and sizes are shown with the exchange's own digits; nothing here changes them.

const TWO = (value: number): string => String(value).padStart(2, "0");

/** `12:34:56` in the browser's time zone; with `millis` `12:34:56.789`. */
export function clock(ms: number, millis = false): string {
  if (!ms) return "";
  const time = new Date(ms);
  const text = `${TWO(time.getHours())}:${TWO(time.getMinutes())}:${TWO(time.getSeconds())}`;
  return millis ? `${text}.${String(ms % 1000).padStart(3, "0")}` : text;
}

/** `2026-08-31 12:34:56.789` in the browser's time zone. */
export function dateAndClock(ms: number): string {
  if (!ms) return "";
  const time = new Date(ms);
  return `${time.getFullYear()}-${TWO(time.getMonth() + 1)}-${TWO(time.getDate())} ${clock(ms, true)}`;
}

/** Nanoseconds since the epoch, as text, as a time; the digits below a millisecond stay. */
export function nanoTime(text: string): string {
  if (!/^\d{16,20}$/.test(text)) return text;
  return `${dateAndClock(Number(text.slice(0, -6)))}${text.slice(-6)}`;
}

/** `now`, `8 s`, `3 min`, `5 h`, `2 d`. */
export function age(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return "";
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 1) return "now";
  if (seconds < 90) return `${Math.floor(seconds)} s`;
  if (seconds < 5400) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** A whole number with thin spaces between thousands; text of any length, never a float. */
export function whole(value: string | number | null | undefined): string {
  if (value === null || value === undefined || value === "") return "";
  const text = String(value);
  return /^\d{5,}$/.test(text) ? text.replace(/\B(?=(\d{3})+$)/g, "\u2009") : text;
}

/** A rate per second, short: `0`, `0.4`, `12`, `1.3k`. */
export function rate(perSecond: number): string {
  if (!Number.isFinite(perSecond)) return "";
  if (perSecond >= 10_000) return `${Math.round(perSecond / 1000)}k`;
  if (perSecond >= 1_000) return `${(perSecond / 1000).toFixed(1)}k`;
  if (perSecond >= 10 || Number.isInteger(perSecond)) return String(Math.round(perSecond));
  return perSecond.toFixed(1);
}

/** The sum of whole numbers written as text; `null` if one of them is none. */
export function sum(...parts: (string | undefined)[]): bigint | null {
  let total = 0n;
  for (const part of parts) {
    if (part === undefined || !/^\d{1,30}$/.test(part)) return null;
    total += BigInt(part);
  }
  return total;
}

/** How much of `size` is `filled`, 0 to 1, for a bar; 0 if either is no number. */
export function share(filled: string | undefined, size: string | undefined): number {
  const part = Number(filled) / Number(size);
  return filled && size && Number.isFinite(part) ? Math.min(1, Math.max(0, part)) : 0;
}

/** Milliseconds since the epoch of what a person typed: an entry ID, a number, a date, or a time of today. */
export function timeFrom(text: string, now: number): number | null {
  const word = text.trim();
  if (/^\d{16,20}$/.test(word)) return Number(word.slice(0, -6));
  if (/^\d{12,15}$/.test(word)) return Number(word);
  if (/^\d{9,11}$/.test(word)) return Number(word) * 1000;
  const today = /^(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d{1,3})?))?$/.exec(word);
  if (today) {
    const day = new Date(now);
    day.setHours(Number(today[1]), Number(today[2]), 0, 0);
    return day.getTime() + Math.round(Number(today[3] ?? 0) * 1000);
  }
  if (/^\d{4}-\d{2}-\d{2}/.test(word)) {
    const parsed = Date.parse(word.replace(" ", "T"));
    return Number.isNaN(parsed) ? null : parsed;
  }
  return null;
}
