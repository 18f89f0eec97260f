import type { RedisOptions } from "ioredis";

import { Account } from "./account.js";
import { Book } from "./book.js";
import type { OnOutage } from "./connection.js";
import { CHANNELS, type BookChannel } from "./generated.js";
import type { Item } from "./items.js";
import { Keys, isPublic } from "./keys.js";
import { Reader, type ReadOptions } from "./reader.js";
import type { Start } from "./start.js";
import { whereIs, type Where } from "./where.js";

/** Settings of a client. */
export interface TickbridgeOptions {
  /** The `namespace` in the connectors' config. Default: none. */
  readonly namespace?: string;
  /** Further options for ioredis, such as `{ tls: { ca } }`. */
  readonly redis?: RedisOptions;
  /** Called with the error when Redis becomes unreachable, and with `undefined` when it answers again. */
  readonly onOutage?: OnOutage;
}

/** How to read one stream. */
export interface StreamOptions extends Omit<ReadOptions, "from"> {
  readonly from?: Start;
}

/** How to follow a book or an account. */
export interface FollowOptions extends Omit<StreamOptions, "resume"> {
  /** Yield once for everything that was read at once, not for every entry. Default: `false`. */
  readonly conflate?: boolean;
}

/** How to follow a book. */
export interface BookOptions extends FollowOptions {
  /** `book10` for the ten best levels a side. Default: `book`. */
  readonly channel?: BookChannel;
}

/** A loop over the states of something that is kept up to date. Yields the same object again and again. */
export interface Following<T> extends AsyncIterableIterator<T> {
  return(): Promise<IteratorResult<T>>;
  /** Reads the streams; for `save` and `cursors`. */
  readonly reader: Reader;
}

/**
 * The streams of a Redis.
 *
 *     const tb = new Tickbridge("redis://127.0.0.1:6379/0");
 *     for await (const book of tb.book("coinbase", "BTC-USD")) { … }
 *
 * Every loop has connections of its own, which are opened by its first step and closed when it is left.
 */
export class Tickbridge {
  readonly keys: Keys;
  readonly #where: Where;
  readonly #onOutage: OnOutage;
  readonly #readers = new Set<Reader>();

  /**
   * `url`: `redis://`, `rediss://` (TLS), `unix://`, `redis+sentinel://` or `redis+cluster://`.
   *
   * @throws {TickbridgeError} it is something else.
   */
  constructor(url: string, options: TickbridgeOptions = {}) {
    this.#where = whereIs(url, options.redis);
    this.keys = new Keys(options.namespace);
    this.#onOutage = options.onOutage ?? (() => undefined);
  }

  /**
   * The items of any streams. Keys come from `keys.stream`.
   *
   * @throws {TickbridgeError} a key is not that of a data stream.
   */
  stream(keys: string | readonly string[], options: ReadOptions = {}): Reader {
    const streams = typeof keys === "string" ? [keys] : keys;
    const reader = new Reader(this.#where, this.keys, streams, options, this.#onOutage, (one) => this.#readers.delete(one));
    if (!reader.closed) this.#readers.add(reader);
    return reader;
  }

  /** The public trades of a pair, and everything that interrupts them. Starts with the oldest, if `from` says nothing else. */
  trades(exchange: string, pair: string, options: StreamOptions = {}): Reader {
    return this.stream(this.keys.stream(exchange, pair, "trades"), options);
  }

  /**
   * The order book of a pair: yields it at the start and after every entry, valid or not. Starts with the newest full book,
   * if `from` says nothing else.
   */
  book(exchange: string, pair: string, { channel = "book", conflate = false, ...options }: BookOptions = {}): Following<Book> {
    const book = new Book(exchange, pair, channel);
    const reader = this.stream(this.keys.stream(exchange, pair, channel), { from: "snapshot", ...options });
    return follow(reader, book, conflate);
  }

  /**
   * An account's balances, open orders, positions and fills: yields them after every entry of its streams. Starts with the
   * oldest, if `from` says nothing else. `account` may be that of a sub-account: `main/<subaccount>`.
   */
  account(exchange: string, account: string, { conflate = false, ...options }: FollowOptions = {}): Following<Account> {
    const keys = CHANNELS.filter((one) => !isPublic(one)).map((one) => this.keys.stream(exchange, account, one));
    return follow(this.stream(keys, options), new Account(exchange, account), conflate);
  }

  /** End all loops of this client and close their connections. */
  close(): void {
    for (const reader of [...this.#readers]) reader.close();
  }
}

/** Yields `state` whenever it has taken an item, or all items that were read at once. */
function follow<T extends { take(item: Item): void }>(reader: Reader, state: T, conflate: boolean): Following<T> {
  return {
    reader,
    async next(): Promise<IteratorResult<T>> {
      do {
        const { done, value } = await reader.next();
        if (done) return { done: true, value: undefined };
        state.take(value as Item);
      } while (conflate && reader.pending > 0);
      return { done: false, value: state };
    },
    async return(): Promise<IteratorResult<T>> {
      await reader.return();
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator](): Following<T> {
      return this;
    },
  };
}

