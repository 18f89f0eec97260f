import { describe, expect, test } from "vitest";
import { BookKeeper } from "../src/model/book";
import { toItem, type Item } from "../src/model/items";

let seq = 0;

function entry(type: string, fields: Record<string, string>): Item {
  seq += 1;
  return toItem("book", `1000-${seq}`, { type, ts: "", recv: "1", ...fields });
}
const snapshot = (bids: string, asks: string) => entry("snapshot", { xseq: "7", bids, asks });
const delta = (bids: string, asks: string) => entry("delta", { xseq: "8", bids, asks });
const control = (event: string, reason = "") => entry("control", { event, reason, count: "" });

function keeper(...items: Item[]): BookKeeper {
  const book = new BookKeeper();
  for (const item of items) book.take(item);
  return book;
}
const text = (book: BookKeeper) =>
  [book.bids, book.asks].map(({ levels }) => levels.map(({ price, size }) => `${price}:${size}`).join(" "));

describe("a book", () => {
  test("begins with a snapshot, in any order of its levels", () => {
    const book = keeper(snapshot("9.5:1 10:2", "11:3 10.5:4"));
    expect(book.valid).toBe(true);
    expect(text(book)).toEqual(["10:2 9.5:1", "10.5:4 11:3"]);
    expect(book.xseq).toBe("7");
  });

  test("ignores deltas before its snapshot", () => {
    const book = keeper(delta("10:1", ""));
    expect([book.valid, book.why, text(book)]).toEqual([false, "start", ["", ""]]);
  });

  test("takes sizes as absolute, and zero of any spelling as gone", () => {
    const book = keeper(snapshot("10:2 9:1", "11:3"), delta("10:5 9:0.00000000", "12:1 11:0"));
    expect(text(book)).toEqual(["10:5", "12:1"]);
  });

  test("has one level for two spellings of a price, with the digits that came last", () => {
    const book = keeper(snapshot("7994.5:1", ""), delta("7994.50:2", ""));
    expect(text(book)).toEqual(["7994.50:2", ""]);
    book.take(delta("7994.500:0", ""));
    expect(text(book)).toEqual(["", ""]);
  });

  test("tells prices apart that are one float", () => {
    const book = keeper(snapshot("0.30000000000000000001:1 0.30000000000000000002:2", ""));
    expect(text(book)[0]).toBe("0.30000000000000000002:2 0.30000000000000000001:1");
    book.take(delta("0.30000000000000000001:0", ""));
    expect(text(book)[0]).toBe("0.30000000000000000002:2");
  });

  test("may have an empty side", () => {
    expect(keeper(snapshot("", "11:1")).valid).toBe(true);
  });

  test.each(["live", "down", "stale", "gap", "lost", "stop"])("is invalid after %s, until a snapshot", (event) => {
    const book = keeper(snapshot("10:1", "11:1"), control(event, "some reason"));
    expect([book.valid, book.why, book.reason]).toEqual([false, event, `${event}: some reason`]);
    book.take(delta("10:9", ""));
    expect(book.valid).toBe(false);
    book.take(snapshot("9:1", "12:1"));
    expect([book.valid, text(book)]).toEqual([true, ["9:1", "12:1"]]);
  });

  test("is invalid after a control event that nobody knows", () => {
    const book = keeper(snapshot("10:1", "11:1"), control("paused"));
    expect([book.valid, book.why]).toEqual([false, "unknown"]);
  });

  test("does not mind a type that nobody knows", () => {
    expect(keeper(snapshot("10:1", "11:1"), entry("auction", { price: "3" })).valid).toBe(true);
  });

  test.each<[string, Item]>([
    ["hole", { kind: "hole", count: 2, before: "1-9" }],
    ["trimmed", { kind: "trimmed", count: 2, before: "1-9" }],
    ["reset", { kind: "reset", before: "1-1" }],
    ["away", { kind: "away", error: "no connection" }],
    ["unreadable", { kind: "unreadable", error: "WRONGTYPE" }],
    ["invalid", { kind: "invalid", error: "gap: x" }],
    ["hole", { kind: "skipped", count: 3 }],
  ])("is invalid after %s", (why, item) => {
    const book = keeper(snapshot("10:1", "11:1"), item);
    expect([book.valid, book.why]).toEqual([false, why]);
    expect(book.reason).not.toBe("");
  });

  test.each([
    ["a level without a size", delta("10", "")],
    ["a level of three parts", delta("10:1:2", "")],
    ["a price that is no number", delta("x:1", "")],
    ["a size that is no number", delta("10:NaN", "")],
    ["a negative size", delta("10:-1", "")],
    ["a missing side", entry("delta", { xseq: "", bids: "" })],
    ["a trade in a book", entry("trade", { id: "", side: "buy", price: "1", size: "1" })],
    ["a recv that is no number", toItem("book", "1-1", { type: "delta", ts: "", recv: "", xseq: "", bids: "", asks: "" })],
    ["no type", toItem("book", "1-1", { price: "1" })],
  ])("is invalid after an entry that cannot be parsed: %s", (_, item) => {
    const book = keeper(snapshot("10:1", "11:1"), item);
    expect([book.valid, book.why]).toEqual([false, "undecodable"]);
  });

  test("is crossed if the best bid is at or above the best ask, as numbers", () => {
    expect(keeper(snapshot("10:1", "10.0:1")).crossed).toBe(true);
    expect(keeper(snapshot("9.99:1", "10:1")).crossed).toBe(false);
  });

  test("equals a plain one after any changes", () => {
    let state = 12345;
    const random = (below: number): number => {
      state = (state * 1103515245 + 12345) % 2147483648;
      return state % below;
    };
    const plain = [new Map<number, string>(), new Map<number, string>()];
    const book = keeper(snapshot("", ""));
    for (let round = 0; round < 3000; round += 1) {
      const side = random(2);
      const cents = 900 + random(200);
      const size = random(3) === 0 ? "0.000" : `${1 + random(50)}.${random(10)}`;
      const price = random(2) ? (cents / 100).toFixed(2) : (cents / 100).toFixed(4);
      book.take(side ? delta("", `${price}:${size}`) : delta(`${price}:${size}`, ""));
      if (Number(size)) plain[side]!.set(cents, `${price}:${size}`);
      else plain[side]!.delete(cents);
    }
    const expected = plain.map((levels, side) =>
      [...levels].sort(([a], [b]) => (side ? a - b : b - a)).map(([, level]) => level).join(" "),
    );
    expect(text(book)).toEqual(expected);
  });
});
