// An order book that follows the reader's rules: see docs/how-to/write-a-reader.md and docs/reference/control-entries.md.

import { compareDecimals, decimalKey, parseDecimal, type Decimal } from "./decimal";
import type { Item } from "./items";

/** A level with the exchange's own digits. `pixels` is for drawing only. */
export interface Level {
  readonly price: string;
  readonly size: string;
  readonly exact: Decimal;
  readonly pixels: number;
}

type Pair = readonly [price: string, size: string];

class UnusableLevel extends Error {}

/** `price:size` pairs, or `null` if one of them is not of that form. */
export function parseLevels(text: string): Pair[] | null {
  const levels: Pair[] = [];
  for (const word of text.split(/\s+/)) {
    if (!word) continue;
    const parts = word.split(":");
    if (parts.length !== 2) return null;
    levels.push([parts[0]!, parts[1]!]);
  }
  return levels;
}

function number(text: string): Decimal {
  const value = parseDecimal(text);
  if (!value) throw new UnusableLevel(`'${text}' is not a number`);
  return value;
}

/** One side of a book, best level first. Prices are compared as numbers: `7994.5` and `7994.50` are one level. */
export class Side {
  levels: Level[] = [];

  constructor(private readonly bids: boolean) {}

  /** All levels anew, in any order; those of size zero are left out. */
  replace(pairs: readonly Pair[]): void {
    const found = new Map<string, Level>();
    for (const [price, size] of pairs) {
      if (number(size).sign === 0) continue;
      const level = this.level(price, size);
      found.set(decimalKey(level.exact), level);
    }
    this.levels = [...found.values()].sort((a, b) => this.order(a, b));
  }

  /** Set a level to its absolute size; zero removes it. */
  set(price: string, size: string): void {
    const { sign } = number(size);
    if (sign < 0) throw new UnusableLevel(`negative size ${size} at price ${price}`);
    const level = this.level(price, size);
    const place = this.place(level);
    const there = this.levels[place];
    const same = there !== undefined && this.order(there, level) === 0;
    if (sign === 0) {
      if (same) this.levels.splice(place, 1);
    } else {
      this.levels.splice(place, same ? 1 : 0, level);
    }
  }

  private level(price: string, size: string): Level {
    return { price, size, exact: number(price), pixels: Number(price) };
  }

  private order(a: Level, b: Level): number {
    // The nearest doubles of two numbers are never in the wrong order, only equal at times; then the digits decide.
    const apart = a.pixels - b.pixels || compareDecimals(a.exact, b.exact);
    return this.bids ? -apart : apart;
  }

  /** The index of the first level that is not better than this one. */
  private place(level: Level): number {
    let low = 0;
    let high = this.levels.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.order(this.levels[middle]!, level) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Why a book is invalid, in one word; `start`: no snapshot yet. */
export type Why =
  | "start"
  | "gap"
  | "down"
  | "stale"
  | "lost"
  | "stop"
  | "live"
  | "hole"
  | "trimmed"
  | "reset"
  | "undecodable"
  | "unknown"
  | "invalid"
  | "unreadable"
  | "away";

/** Takes every item of one book stream, in order. The levels count only while the book is `valid`. */
export class BookKeeper {
  readonly bids = new Side(true);
  readonly asks = new Side(false);
  valid = false;
  why: Why | "" = "start";
  /** Why it is invalid, for people. */
  reason = "no snapshot yet";
  /** The last entry that was applied. */
  id = "";
  xseq = "";
  /** How often the book has changed; for drawing. */
  version = 0;

  take(item: Item): void {
    this.version += 1;
    switch (item.kind) {
      case "entry": {
        const { fields } = item;
        if (fields.type === "snapshot") this.apply(fields, true);
        else if (fields.type === "delta") {
          if (this.valid) this.apply(fields, false);
        } else if (fields.type === "control") {
          const event = fields.event ?? "";
          this.invalidate(event as Why, fields.reason ? `${event}: ${fields.reason}` : event);
        }
        break;
      }
      case "unknown":
        // An unknown type is ignored. An unknown control event is not: it may mean anything.
        if (item.control) this.invalidate("unknown", item.error);
        break;
      case "undecodable":
        this.invalidate("undecodable", `entry ${item.id} cannot be parsed: ${item.error}`);
        break;
      case "hole":
        this.invalidate("hole", `${count(item.count)} missing before ${item.before}`);
        break;
      case "trimmed":
        this.invalidate("trimmed", `${count(item.count)} trimmed before ${item.before}`);
        break;
      case "reset":
        this.invalidate("reset", `the stream was created again at ${item.before}`);
        break;
      case "invalid":
        this.invalidate("invalid", item.error);
        break;
      case "unreadable":
        this.invalidate("unreadable", item.error);
        break;
      case "away":
        this.invalidate("away", item.error);
        break;
      case "skipped":
        this.invalidate("hole", "entries were skipped; waiting for the next snapshot");
        break;
    }
    if ("id" in item) this.id = item.id;
  }

  /** Whether the best bid is at or above the best ask. */
  get crossed(): boolean {
    const bid = this.bids.levels[0];
    const ask = this.asks.levels[0];
    return bid !== undefined && ask !== undefined && compareDecimals(bid.exact, ask.exact) >= 0;
  }

  private apply(fields: Readonly<Record<string, string>>, whole: boolean): void {
    const bids = parseLevels(fields.bids ?? "");
    const asks = parseLevels(fields.asks ?? "");
    if (!bids || !asks) {
      this.invalidate("undecodable", "a level is not price:size");
      return;
    }
    try {
      if (whole) {
        this.bids.replace(bids);
        this.asks.replace(asks);
      } else {
        for (const [price, size] of bids) this.bids.set(price, size);
        for (const [price, size] of asks) this.asks.set(price, size);
      }
    } catch (error) {
      if (!(error instanceof UnusableLevel)) throw error;
      this.invalidate("undecodable", `unusable levels: ${error.message}`);
      return;
    }
    this.valid = true;
    this.why = "";
    this.reason = "";
    this.xseq = fields.xseq ?? "";
  }

  private invalidate(why: Why, reason: string): void {
    this.valid = false;
    this.why = why;
    this.reason = reason;
  }
}

function count(entries: number): string {
  if (!entries) return "entries are";
  return entries === 1 ? "1 entry is" : `${entries} entries are`;
}
