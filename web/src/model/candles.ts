// Candles for drawing, built from trades: pixels need no exact decimals.

import { msOf } from "./ids";
import type { Item } from "./items";

export interface Candle {
  /** Start of the bar, milliseconds since the epoch. */
  readonly start: number;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number;
  trades: number;
  /** Whether trades are missing in it: a `gap`, a `lost`, a hole, or no connection. */
  incomplete: boolean;
}

export interface Trade {
  readonly id: string;
  readonly ms: number;
  readonly side: string;
  readonly price: string;
  readonly size: string;
}

/** The trade of an item, or `null` if it is none. */
export function tradeOf(item: Item): Trade | null {
  if (item.kind !== "entry" || item.fields.type !== "trade") return null;
  const { side = "", price = "", size = "" } = item.fields;
  return { id: item.id, ms: msOf(item.id), side, price, size };
}

/** Bars of `interval` milliseconds, by time of receipt, the time axis of the control entries; at most `limit`. */
export class Candles {
  bars: Candle[] = [];
  private broken = false;

  constructor(
    readonly interval: number,
    private readonly limit = 1_000,
  ) {}

  /** The next item of the stream of trades. */
  take(item: Item): void {
    const trade = tradeOf(item);
    if (trade) {
      this.trade(trade);
      return;
    }
    if (item.kind === "entry" && item.fields.type === "control") {
      const event = item.fields.event;
      if (event === "live") {
        this.mark(msOf(item.id));
        this.broken = false;
      } else {
        this.mark(msOf(item.id));
        this.broken = event === "down" || event === "stale" || event === "stop";
      }
    } else if (item.kind !== "entry" && !(item.kind === "unknown" && !item.control)) {
      const last = this.bars[this.bars.length - 1];
      if (last) last.incomplete = true;
    }
  }

  private trade(trade: Trade): void {
    const price = Number(trade.price);
    if (!Number.isFinite(price) || trade.price === "") return;
    const bar = this.bar(trade.ms, price);
    bar.high = Math.max(bar.high, price);
    bar.low = Math.min(bar.low, price);
    bar.close = price;
    bar.volume += Number(trade.size) || 0;
    bar.trades += 1;
    if (this.broken) bar.incomplete = true;
  }

  private bar(ms: number, price: number): Candle {
    const start = ms - (ms % this.interval);
    const last = this.bars[this.bars.length - 1];
    if (last && last.start >= start) return last;
    const bar = { start, open: price, high: price, low: price, close: price, volume: 0, trades: 0, incomplete: false };
    this.bars.push(bar);
    if (this.bars.length > this.limit) this.bars.splice(0, this.bars.length - this.limit);
    return bar;
  }

  /** The bar of this time, if there is one, lacks trades. */
  private mark(ms: number): void {
    const last = this.bars[this.bars.length - 1];
    if (last && ms < last.start + this.interval) last.incomplete = true;
  }
}
