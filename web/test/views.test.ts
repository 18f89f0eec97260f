import { describe, expect, test } from "vitest";
import { BookKeeper } from "../src/model/book";
import { Candles } from "../src/model/candles";
import { depth } from "../src/model/depth";
import { age, nanoTime, rate, share, sum, timeFrom, whole } from "../src/model/format";
import { toItem, type Item } from "../src/model/items";
import { retentionUsed } from "../src/model/retention";
import { Timeline } from "../src/model/timeline";
import { Wallet } from "../src/model/wallet";

function entry(channel: string, id: string, type: string, fields: Record<string, string>): Item {
  return toItem(channel, id, { type, ts: "", recv: "1", ...fields });
}
const trade = (id: string, price: string, size = "1"): Item => entry("trades", id, "trade", { id: "", side: "buy", price, size });
const control = (id: string, event: string, reason = "", count = ""): Item =>
  entry("trades", id, "control", { event, reason, count });

describe("retention", () => {
  const kept = { entries: "50", last_id: "3600000-50", oldest_ms: "1800000", max_entries: "200", max_age: "3600" };
  test.each([
    [{}, 0.5], // half an hour of one
    [{ oldest_ms: "3600000" }, 0.25],
    [{ entries: "900" }, 1], // it may be exceeded for a moment
    [{ oldest_ms: "", last_id: "" }, 0.25],
    [{ max_age: "" }, 0.25],
    [{ max_entries: "", max_age: "" }, null], // a connector that does not give them
    [{ entries: "", oldest_ms: "", max_age: "" }, null],
    [{ entries: "0", oldest_ms: "", last_id: "" }, 0],
  ])("%o", (change, used) => expect(retentionUsed({ ...kept, ...change })).toBe(used));
});

describe("candles", () => {
  const of = (...items: Item[]) => {
    const candles = new Candles(1000);
    for (const item of items) candles.take(item);
    return candles.bars;
  };

  test("are made of the trades of an interval", () => {
    const bars = of(trade("1000-1", "10", "2"), trade("1500-2", "12"), trade("1999-3", "9", "0.5"), trade("3000-4", "11"));
    expect(bars).toHaveLength(2);
    expect(bars[0]).toEqual({
      start: 1000,
      open: 10,
      high: 12,
      low: 9,
      close: 9,
      volume: 3.5,
      trades: 3,
      incomplete: false,
    });
    expect(bars[1]).toMatchObject({ start: 3000, open: 11, close: 11 });
  });

  test.each([
    ["a gap", [control("1500-2", "gap")]],
    ["what was lost", [control("1500-2", "lost")]],
    ["a hole", [{ kind: "hole", count: 1, before: "1600-3" } as Item]],
    ["an outage", [control("1500-2", "down")]],
  ])("are incomplete over %s", (_, items) => {
    expect(of(trade("1000-1", "10"), ...items)[0]?.incomplete).toBe(true);
  });

  test("are incomplete from down to live, and complete after it", () => {
    const bars = of(trade("1000-1", "10"), control("2100-2", "down"), trade("3000-3", "11"), control("4000-4", "live"), trade("5000-5", "1"));
    expect(bars.map(({ start, incomplete }) => [start, incomplete])).toEqual([
      [1000, false],
      [3000, true],
      [5000, false],
    ]);
  });
});

describe("the band", () => {
  const of = (...items: Item[]) => {
    const timeline = new Timeline();
    for (const item of items) timeline.take(item);
    return timeline;
  };

  test("shows down to live as one span, with the better reason of two", () => {
    const timeline = of(control("200-2", "down", "broken"), control("250-3", "down", "the pair is halted"), control("400-4", "live"));
    expect(timeline.spans(100, 500, "live")).toEqual([
      { from: 100, to: 200, state: "live", reason: "" },
      { from: 200, to: 400, state: "down", reason: "the pair is halted" },
      { from: 400, to: 500, state: "live", reason: "" },
    ]);
  });

  test("does not claim to know what was before the first live", () => {
    expect(of(control("200-1", "live")).spans(100, 300, "live").map(({ state }) => state)).toEqual(["unknown", "live"]);
  });

  test("goes by the present state where no control entry is known", () => {
    expect(of().spans(100, 300, "live")).toEqual([{ from: 100, to: 300, state: "live", reason: "" }]);
    expect(of().spans(100, 300, "")[0]?.state).toBe("unknown");
  });

  test("cuts spans to its window", () => {
    expect(of(control("50-1", "down", "x")).spans(100, 300, "down")).toEqual([{ from: 100, to: 300, state: "down", reason: "x" }]);
  });

  test("marks gaps, losses and holes, once each, in their order", () => {
    const gap = control("200-2", "gap", "messages are missing", "3");
    const timeline = of(control("300-4", "lost", "", "7"), gap, gap, { kind: "hole", count: 2, before: "400-7" });
    expect(timeline.missing(100, 500).map(({ ms, event, reason, count }) => [ms, event, reason, count])).toEqual([
      [200, "gap", "messages are missing", "3"],
      [300, "lost", "", "7"],
      [400, "hole", "entries are missing in the stream", "2"],
    ]);
    expect(timeline.missing(250, 350)).toHaveLength(1);
  });

  test("a gap does not end a live span", () => {
    expect(of(control("100-1", "live"), control("200-2", "gap")).spans(100, 300, "live").map(({ state }) => state)).toEqual(["live"]);
  });
});

describe("an account", () => {
  const order = (id: string, status: string, filled = "0"): Item =>
    entry("orders", id, "order", {
      order_id: "a",
      client_id: "",
      pair: "BTC-EUR",
      kind: "limit",
      side: "buy",
      price: "10",
      size: "2",
      filled,
      status,
    });

  test("has open orders until they are done", () => {
    const wallet = new Wallet();
    wallet.take("orders", order("1-1", "open"));
    wallet.take("orders", order("2-2", "partially_filled", "1"));
    expect([...wallet.orders.values()].map(({ fields }) => fields.filled)).toEqual(["1"]);
    wallet.take("orders", entry("orders", "3-3", "control", { event: "down", reason: "broken", count: "" }));
    expect([...wallet.orders.values()][0]?.unconfirmed).toBe(true);
    expect(wallet.states.get("orders")).toBe("down: broken");
    wallet.take("orders", order("4-4", "open", "1"));
    expect([...wallet.orders.values()][0]?.unconfirmed).toBe(false);
    wallet.take("orders", { kind: "reset", before: "4-1" });
    expect([...wallet.orders.values()][0]?.unconfirmed).toBe(true);
    for (const status of ["filled", ""]) {
      wallet.take("orders", order("5-5", status, "2"));
      expect(wallet.orders.size).toBe(0);
    }
  });

  test("has balances by currency, positions by pair and leg, fills newest first", () => {
    const wallet = new Wallet();
    const balance = (id: string, available: string): Item =>
      entry("balances", id, "balance", { currency: "EUR", available, reserved: "0" });
    wallet.take("balances", balance("1-1", "5"));
    wallet.take("balances", balance("2-2", "6"));
    expect(wallet.balances.get("EUR")?.fields.available).toBe("6");
    const position = (leg: string, side: string): Item =>
      entry("positions", "1-1", "position", {
        pair: "BTC-PERP",
        side,
        size: "1",
        entry_price: "",
        mark_price: "",
        unrealised_pnl: "",
        leg,
      });
    wallet.take("positions", position("long", "long"));
    wallet.take("positions", position("short", "short"));
    expect(wallet.positions.size).toBe(2);
    wallet.take("positions", position("short", ""));
    expect([...wallet.positions.values()].map(({ fields }) => fields.leg)).toEqual(["long"]);
    for (const id of ["1-1", "2-2"]) {
      wallet.take("fills", entry("fills", id, "fill", { fill_id: "", order_id: "", pair: "", side: "", price: "", size: "", fee: "", fee_currency: "" }));
    }
    expect(wallet.fills.map(({ id }) => id)).toEqual(["2-2", "1-1"]);
  });
});

test("the depth of both sides reaches equally far", () => {
  const book = new BookKeeper();
  book.take(entry("book", "1-1", "snapshot", { xseq: "", bids: "10:1 9:2 1:5", asks: "11:1 12:3" }));
  expect(depth(book.bids.levels, book.asks.levels)).toEqual([
    [9, 10, 11, 12],
    [3, 1, null, null],
    [null, null, 1, 4],
  ]);
  expect(depth([], [])).toEqual([[], [], []]);
});

describe("texts", () => {
  test("ages", () => {
    expect([0, 999, 8_400, 89_000, 200_000, 7_200_000, 300_000_000].map(age)).toEqual(["now", "now", "8 s", "89 s", "3 min", "2 h", "3 d"]);
    expect(age(null)).toBe("");
  });

  test("whole numbers keep all their digits", () => {
    expect(whole("9007199254740993")).toBe("9\u2009007\u2009199\u2009254\u2009740\u2009993");
    expect(whole("1234")).toBe("1234");
  });

  test("rates", () => {
    expect([0, 0.4, 12.3, 1_300, 25_000].map(rate)).toEqual(["0", "0.4", "12", "1.3k", "25k"]);
  });

  test("sums are exact", () => {
    expect(sum("9007199254740993", "1")).toBe(9007199254740994n);
    expect(sum("1", undefined)).toBeNull();
    expect(sum("1", "x")).toBeNull();
  });

  test("shares", () => {
    expect([share("1", "4"), share("", "4"), share("5", "4"), share("1", "0"), share("x", "1")]).toEqual([0.25, 0, 1, 0, 0]);
  });

  test("nanoseconds keep all their digits", () => {
    expect(nanoTime("1795302528133138298")).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.133138298$/);
    expect(nanoTime("")).toBe("");
  });

  test("times that people type", () => {
    const now = new Date(2026, 7, 31, 12, 0, 0).getTime();
    expect(timeFrom("1795302528133", now)).toBe(1795302528133);
    expect(timeFrom("1795302528133138298", now)).toBe(1795302528133);
    expect(timeFrom("1795302528", now)).toBe(1795302528000);
    expect(timeFrom("11:30", now)).toBe(now - 1_800_000);
    expect(timeFrom("11:59:59.5", now)).toBe(now - 500);
    expect(timeFrom("2026-08-31 12:00:00", now)).toBe(now);
    expect(timeFrom("soon", now)).toBeNull();
  });
});
