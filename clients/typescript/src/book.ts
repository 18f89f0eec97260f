import { compare, decimal, type Decimal } from "./decimal.js";
import type { BookChannel } from "./generated.js";
import { isStored, parseLevels, type Item, type Level } from "./items.js";

/**
 * Why a book is invalid. `start`: there was no snapshot yet; `gap`, `down`, `stale`, `lost`, `stop`: the control entry that
 * came; `unknown`: a control entry that this version does not know; the others: what the reader found.
 */
export type Trouble =
  | "start"
  | "live"
  | "gap"
  | "down"
  | "stale"
  | "lost"
  | "stop"
  | "unknown"
  | "hole"
  | "trimmed"
  | "reset"
  | "undecodable"
  | "unreadable";

interface Ranked extends Level {
  readonly number: Decimal;
}

/** One side of a book: its levels, best first. Empty while the book is invalid. */
export class Side implements Iterable<Level> {
  /** The worst level first: most changes are near the best one, so little has to be moved. */
  #levels: Ranked[] = [];
  readonly #better: 1 | -1;

  constructor(kind: "bids" | "asks") {
    this.#better = kind === "bids" ? 1 : -1;
  }

  /** The number of levels. */
  get size(): number {
    return this.#levels.length;
  }

  /** The best level; `undefined` if there is none. */
  best(): Level | undefined {
    return plain(this.#levels.at(-1));
  }

  /** The best `count` levels (all, if it is left out), best first. */
  top(count = Infinity): Level[] {
    const levels: Level[] = [];
    for (const level of this) {
      if (levels.length >= count) break;
      levels.push(level);
    }
    return levels;
  }

  /** The size at a price, as text; `undefined` if there is no level. `65080` and `65080.00` are the same price. */
  at(price: string): string | undefined {
    const number = decimal(price);
    const place = this.#place(number);
    const level = this.#levels[place];
    return level && compare(level.number, number) === 0 ? level.size : undefined;
  }

  /** All levels, best first. */
  *[Symbol.iterator](): IterableIterator<Level> {
    for (let place = this.#levels.length - 1; place >= 0; place -= 1) {
      yield plain(this.#levels[place]) as Level;
    }
  }

  /** @internal Replace all levels; those of size zero are left out. */
  replace(levels: readonly Level[]): void {
    const ranked: Ranked[] = [];
    for (const { price, size } of levels) {
      const number = decimal(price);
      if (amount(price, size).sign !== 0) ranked.push({ price, size, number });
    }
    // If a price comes twice, its last level counts, as in a delta. The sort is stable.
    ranked.sort((a, b) => this.#better * compare(a.number, b.number));
    this.#levels = ranked.filter((level, place) => {
      const next = ranked[place + 1];
      return !next || compare(level.number, next.number) !== 0;
    });
  }

  /** @internal Set a level to its absolute size; zero removes it. */
  set({ price, size }: Level): void {
    const number = decimal(price);
    const removed = amount(price, size).sign === 0;
    const place = this.#place(number);
    const level = this.#levels[place];
    const found = level !== undefined && compare(level.number, number) === 0;
    if (!removed) this.#levels.splice(place, found ? 1 : 0, { price, size, number });
    else if (found) this.#levels.splice(place, 1);
  }

  /** @internal Remove all levels. */
  clear(): void {
    this.#levels = [];
  }

  /** Where the price is, or belongs. */
  #place(number: Decimal): number {
    let low = 0;
    let high = this.#levels.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#better * compare((this.#levels[middle] as Ranked).number, number) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** The best level of each side; `undefined` for a side without levels. */
export interface Best {
  readonly bid: Level | undefined;
  readonly ask: Level | undefined;
}

/**
 * An order book that is kept up to date from the items of its stream. Use it only while it is `valid`; while it is not,
 * it has no levels.
 *
 * A loop over `Tickbridge.book` yields the same object again and again: copy what you want to keep.
 */
export class Book {
  readonly exchange: string;
  readonly pair: string;
  readonly channel: BookChannel;
  readonly bids = new Side("bids");
  readonly asks = new Side("asks");
  #id = "";
  #xseq = "";
  #recv = "";
  #why: Trouble | "" = "start";
  #reason = "no snapshot yet";

  constructor(exchange: string, pair: string, channel: BookChannel = "book") {
    this.exchange = exchange;
    this.pair = pair;
    this.channel = channel;
  }

  /** Whether this is the exchange's book, as of `id`. */
  get valid(): boolean {
    return this.#why === "";
  }

  /** Why the book is invalid, in one word; empty while it is valid. */
  get why(): Trouble | "" {
    return this.#why;
  }

  /** Why the book is invalid, for people; empty while it is valid. */
  get reason(): string {
    return this.#reason;
  }

  /** The ID of the last entry that was taken; empty before the first. */
  get id(): string {
    return this.#id;
  }

  /** The exchange's own sequence number of the last snapshot or delta; empty if it gives none. */
  get xseq(): string {
    return this.#xseq;
  }

  /** When the last snapshot or delta was received, in nanoseconds since the epoch, as text. */
  get recv(): string {
    return this.#recv;
  }

  /** The best bid and the best ask. */
  best(): Best {
    return { bid: this.bids.best(), ask: this.asks.best() };
  }

  /** The best `count` levels of each side (all, if it is left out), best first. */
  top(count?: number): { bids: Level[]; asks: Level[] } {
    return { bids: this.bids.top(count), asks: this.asks.top(count) };
  }

  /** Take the next item of the book's stream. */
  take(item: Item): void {
    if (isStored(item)) this.#id = item.id;
    switch (item.kind) {
      case "snapshot":
        this.#apply(item.fields, () => {
          this.bids.replace(parseLevels(item.fields.bids));
          this.asks.replace(parseLevels(item.fields.asks));
        });
        break;
      case "delta":
        if (this.valid) {
          this.#apply(item.fields, () => {
            for (const level of parseLevels(item.fields.bids)) this.bids.set(level);
            for (const level of parseLevels(item.fields.asks)) this.asks.set(level);
          });
        }
        break;
      case "control": {
        const { event, reason } = item.fields;
        this.#invalidate(event, reason ? `${event}: ${reason}` : event);
        break;
      }
      case "hole":
        this.#invalidate("hole", `${item.count} entries are missing before ${item.id}`);
        break;
      case "trimmed":
        this.#invalidate("trimmed", `${item.count} entries were trimmed before ${item.id}`);
        break;
      case "reset":
        this.#invalidate("reset", `the stream was created again at ${item.id}`);
        break;
      case "undecodable":
        this.#invalidate("undecodable", `entry ${item.id} cannot be parsed: ${item.error}`);
        break;
      case "unknown":
        if (item.raw["type"] === "control") this.#invalidate("unknown", item.error);
        break;
      case "unreadable":
        this.#invalidate("unreadable", `the stream cannot be read: ${item.error}`);
        break;
    }
  }

  #apply(fields: { readonly xseq: string; readonly recv: string }, change: () => void): void {
    try {
      change();
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#invalidate("undecodable", `entry ${this.#id} has levels that cannot be used: ${error.message}`);
      return;
    }
    this.#why = "";
    this.#reason = "";
    this.#xseq = fields.xseq;
    this.#recv = fields.recv;
  }

  #invalidate(why: Trouble, reason: string): void {
    this.#why = why;
    this.#reason = reason;
    this.bids.clear();
    this.asks.clear();
  }
}

function plain(level: Ranked | undefined): Level | undefined {
  return level && { price: level.price, size: level.size };
}

function amount(price: string, size: string): Decimal {
  const number = decimal(size);
  if (number.sign < 0) throw new RangeError(`the size ${size} at the price ${price} is negative`);
  return number;
}
