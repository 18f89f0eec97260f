import assert from "node:assert/strict";
import { test } from "node:test";

import { Book, compareDecimals, formatLevels, type Item } from "../src/index.js";
import { KEY, control, delta, entry, snapshot } from "./samples.js";

function taken(...items: Item[]): Book {
  const book = new Book("coinbase", "BTC-USD");
  for (const item of items) book.take(item);
  return book;
}

function text(book: Book): [string, string] {
  const { bids, asks } = book.top();
  return [formatLevels(bids), formatLevels(asks)];
}

test("a book begins with a snapshot, in any order of levels", () => {
  const book = taken(snapshot(1, "9:1 10.5:2 10:3", "12:1 11:2", "x1"));
  assert.ok(book.valid);
  assert.deepEqual(text(book), ["10.5:2 10:3 9:1", "11:2 12:1"]);
  assert.deepEqual(book.best(), { bid: { price: "10.5", size: "2" }, ask: { price: "11", size: "2" } });
  assert.deepEqual(book.top(1), { bids: [{ price: "10.5", size: "2" }], asks: [{ price: "11", size: "2" }] });
  assert.deepEqual([...book.bids].map((level) => level.price), ["10.5", "10", "9"]);
  assert.deepEqual([book.id, book.xseq, book.recv, book.why], ["1795302525001-1", "x1", "1", ""]);
});

test("a delta sets levels, and size zero removes them", () => {
  const book = taken(
    snapshot(1, "10:1 9:1", "11:1"),
    delta(2, "9.5:4 10:0.00", "11:2 12:1", "x2"),
    delta(3, "8:0", "11.5:3"), // nothing to remove
  );
  assert.deepEqual(text(book), ["9.5:4 9:1", "11:2 11.5:3 12:1"]);
});

test("prices are numbers, and keep the exchange's digits", () => {
  const book = taken(snapshot(1, "65080.00:1 65079.99:1", "65081:1"), delta(2, "65080:2 65079.990:0", ""));
  assert.deepEqual(text(book), ["65080:2", "65081:1"]);
  assert.equal(book.bids.at("65080.0"), "2");
  assert.equal(book.bids.at("65079.99"), undefined);
});

test("prices that a float cannot tell apart are two levels", () => {
  const book = taken(snapshot(1, "0.30000000000000001:1 0.30000000000000004:2", "9007199254740993:1 9007199254740992:2"));
  assert.deepEqual(text(book), ["0.30000000000000004:2 0.30000000000000001:1", "9007199254740992:2 9007199254740993:1"]);
});

test("a side without orders is empty", () => {
  const book = taken(snapshot(1, "", "11:1"));
  assert.ok(book.valid);
  assert.deepEqual(book.best(), { bid: undefined, ask: { price: "11", size: "1" } });
  assert.equal(book.bids.size, 0);
});

test("any control entry makes the book invalid, the next snapshot makes it valid", () => {
  for (const event of ["live", "down", "stale", "gap", "lost", "stop"]) {
    const book = taken(snapshot(1, "10:1", "11:1"), control(2, event, "because"));
    assert.equal(book.why, event);
    assert.equal(book.reason, `${event}: because`);
    assert.deepEqual(text(book), ["", ""]);
    book.take(delta(3, "10:5", ""));
    assert.equal(book.why, event);
    assert.equal(book.id, "1795302525003-3");
    book.take(snapshot(4, "9:1", "12:1"));
    assert.ok(book.valid);
    assert.deepEqual(text(book), ["9:1", "12:1"]);
  }
});

test("an unknown control entry makes it invalid, an unknown type does not", () => {
  const book = taken(snapshot(1, "10:1", "11:1"), entry(2, { type: "auction", price: "1" }));
  assert.ok(book.valid);
  book.take(control(3, "halted"));
  assert.equal(book.why, "unknown");
});

test("what the reader finds missing makes it invalid", () => {
  const stream = { exchange: "coinbase", subject: "BTC-USD", channel: "book" } as const;
  const head = { key: KEY, stream, id: "9-9" };
  for (const item of [
    { kind: "hole", ...head, count: 2 },
    { kind: "trimmed", ...head, cursor: "1-1", count: 2 },
    { kind: "reset", ...head, cursor: "1-1" },
    { kind: "unreadable", key: KEY, stream, error: "WRONGTYPE" },
  ] satisfies Item[]) {
    const book = taken(snapshot(1, "10:1", "11:1"), item);
    assert.equal(book.why, item.kind);
  }
});

test("an entry that cannot be used makes it invalid", () => {
  for (const bad of [
    delta(2, "10", ""),
    delta(2, "10:1:2", ""),
    delta(2, "ten:1", ""),
    delta(2, "10:-1", ""),
    delta(2, "", "11:NaN"),
    snapshot(2, "10:", "11:1"),
    snapshot(2, "10:1", "11:-1"),
    entry(2, { type: "delta", ts: "", recv: "1", xseq: "", bids: "" }),
    entry(2, { type: "trade", ts: "", recv: "1", id: "", side: "buy", price: "1", size: "1" }),
    entry(2, { ty: "delta" }),
  ]) {
    const book = taken(snapshot(1, "10:1", "11:1"), bad);
    assert.equal(book.why, "undecodable", JSON.stringify(bad));
    assert.equal(book.id, "1795302525002-2");
  }
});

test("a large book is right after many changes", () => {
  // A small generator of numbers, the same in every run.
  let state = 7;
  const next = (below: number): number => {
    state = (state * 1103515245 + 12345) % 2147483648;
    return state % below;
  };
  const book = taken(snapshot(1, "", ""));
  const model = new Map<string, string>();
  for (let seq = 2; seq < 5000; seq += 1) {
    const price = `${100 + next(500)}.${next(4) * 25}`;
    const size = String(next(3));
    book.take(delta(seq, `${price}:${size}`, ""));
    const key = String(Number(price)); // small numbers: exact here
    if (size === "0") model.delete(key);
    else model.set(key, size);
  }
  const levels = book.bids.top();
  assert.deepEqual(new Map(levels.map((level) => [String(Number(level.price)), level.size])), new Map(model));
  const sorted = levels.map((level) => level.price).sort((a, b) => compareDecimals(b, a));
  assert.deepEqual(levels.map((level) => level.price), sorted);
});
