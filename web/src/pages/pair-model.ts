// Everything that the pair page shows of one pair, kept up to date from its streams.

import { BookKeeper } from "../model/book";
import { Candles, tradeOf, type Trade } from "../model/candles";
import type { Fields, Item } from "../model/items";
import { msOf } from "../model/ids";
import { Timeline } from "../model/timeline";
import { gatewayNow } from "../net/clock";
import { controlFeed, feed, openNewest, openSince } from "../net/feeds";
import type { StreamRow } from "../net/types";

/** A trade, or a control entry or hole among the trades. */
export type TapeRow = Trade | { readonly id: string; readonly ms: number; readonly note: string };

const TAPE = 80;
/** Channels whose newest entry says all. */
const STATES = new Set(["quotes", "ticker", "funding", "mark", "interest"]);

export class PairModel {
  book = new BookKeeper();
  candles: Candles;
  /** Newest first. */
  tape: TapeRow[] = [];
  /** The newest entry of each channel of states. */
  readonly newest = new Map<string, Fields>();
  readonly timelines = new Map<string, Timeline>();
  private readonly closers: (() => void)[] = [];
  private readonly watchers = new Set<() => void>();

  constructor(
    readonly rows: readonly StreamRow[],
    span: number,
    interval: number,
  ) {
    this.candles = new Candles(interval);
    const from = gatewayNow() - span;
    for (const { key, channel } of rows) {
      const timeline = new Timeline();
      this.timelines.set(channel, timeline);
      const controls = { types: ["control"], conflate: false };
      this.closers.push(openSince(controlFeed, key, from, controls, (item) => this.control(timeline, item)));
      if (channel === "book") this.follow(feed.open(key, { after: "snapshot" }, (item) => this.books(timeline, item)));
      else if (channel === "trades") this.follow(openSince(feed, key, from, {}, (item) => this.trades(timeline, item)));
      else if (STATES.has(channel)) this.follow(openNewest(feed, key, 2, (item) => this.state(channel, timeline, item)));
    }
    // A pair without a whole book may have its ten best levels.
    const ten = rows.find((row) => row.channel === "book10");
    if (ten && !rows.some((row) => row.channel === "book")) {
      const timeline = this.timelines.get("book10")!;
      this.follow(feed.open(ten.key, { after: "snapshot" }, (item) => this.books(timeline, item)));
    }
  }

  close(): void {
    for (const close of this.closers) close();
  }

  /** Called after each change. */
  watch(watcher: () => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  private changed(): void {
    for (const watcher of this.watchers) watcher();
  }

  private follow(close: () => void): void {
    this.closers.push(close);
  }

  private control(timeline: Timeline, item: Item): void {
    timeline.take(item);
    this.changed();
  }

  private books(timeline: Timeline, item: Item): void {
    this.book.take(item);
    timeline.take(item);
    this.changed();
  }

  private trades(timeline: Timeline, item: Item): void {
    timeline.take(item);
    this.candles.take(item);
    const row = tradeOf(item) ?? note(item);
    if (row) {
      this.tape.unshift(row);
      if (this.tape.length > 2 * TAPE) this.tape.length = TAPE;
    }
    this.changed();
  }

  private state(channel: string, timeline: Timeline, item: Item): void {
    timeline.take(item);
    if (item.kind === "entry" && item.fields.type !== "control") this.newest.set(channel, item.fields);
    this.changed();
  }
}

/** What interrupts the trades, for people; `null` for what does not. */
function note(item: Item): TapeRow | null {
  switch (item.kind) {
    case "entry":
    case "unknown": {
      if (item.fields.type !== "control") return null;
      const { event = "", reason = "", count = "" } = item.fields;
      const words = [event, count && `of ${count}`].filter(Boolean).join(" ");
      return { id: item.id, ms: msOf(item.id), note: reason ? `${words}: ${reason}` : words };
    }
    case "hole":
    case "trimmed":
      return { id: item.before, ms: msOf(item.before), note: `${item.kind}: ${item.count} entries` };
    case "undecodable":
      return { id: item.id, ms: msOf(item.id), note: `cannot be parsed: ${item.error}` };
    case "reset":
      return { id: item.before, ms: msOf(item.before), note: "the stream was created again" };
    default:
      return null;
  }
}
