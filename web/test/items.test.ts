import { describe, expect, test } from "vitest";
import { splitId } from "../src/model/ids";
import { Sequence } from "../src/model/items";
import { parseKey } from "../src/model/keys";

describe("the sequence of a stream", () => {
  const steps = (sequence: Sequence, ...ids: string[]) => ids.map((id) => sequence.step(id));

  test("may begin anywhere, and goes on by one", () => {
    expect(steps(new Sequence(), "5-41", "5-42", "9-43")).toEqual([null, null, null]);
  });

  test("has a hole where it jumps", () => {
    expect(steps(new Sequence(), "5-41", "5-44")[1]).toEqual({ kind: "hole", count: 2, before: "5-44" });
  });

  test("was created again where it goes back", () => {
    expect(steps(new Sequence(), "5-41", "6-1", "6-2")).toEqual([null, { kind: "reset", before: "6-1" }, null]);
  });

  test("is free for one step after a notice without an ID", () => {
    const sequence = new Sequence();
    steps(sequence, "5-41");
    sequence.expectAny();
    expect(steps(sequence, "5-50", "5-52")).toEqual([null, { kind: "hole", count: 1, before: "5-52" }]);
  });

  test("is free up to the entry that a notice names, and no further", () => {
    const sequence = new Sequence();
    steps(sequence, "5-41");
    sequence.expectAny("5-60");
    expect(steps(sequence, "5-50", "5-59", "5-60", "5-61", "5-63")).toEqual([
      null,
      null,
      null,
      null,
      { kind: "hole", count: 1, before: "5-63" },
    ]);
  });
});

test("IDs", () => {
  expect(splitId("1795302528133-2")).toEqual({ ms: 1795302528133, seq: 2 });
  for (const text of ["", "1", "a-1", "1-", "-1", "1-2-3", "now"]) expect(splitId(text)).toBeNull();
});

test("keys", () => {
  expect(parseKey("md:{bybit:BTC-USDT-PERP}:book10")).toMatchObject({
    exchange: "bybit",
    subject: "BTC-USDT-PERP",
    channel: "book10",
    public: true,
    namespace: "",
  });
  expect(parseKey("prod:acct:{limitlex:main/7f}:fills")).toMatchObject({ subject: "main/7f", public: false, namespace: "prod" });
  for (const text of ["bridge:catalog", "md:limitlex:BTC-EUR:trades", "md:{limitlex}:trades", "md:{a:b}:book:snapshot"]) {
    expect(parseKey(text)).toBeNull();
  }
});
