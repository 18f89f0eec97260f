import assert from "node:assert/strict";
import { test } from "node:test";

import { Account, Keys, Tickbridge, TickbridgeError, compareIds, type Item } from "../src/index.js";
import { control, entry } from "./samples.js";

const TRADES = "md:{coinbase:BTC-USD}:trades";
const TRADE = { type: "trade", ts: "1", recv: "2", id: "7", side: "buy", price: "1.50", size: "2" };

test("an entry has its fields as text, further ones too", () => {
  const item = entry(1, { ...TRADE, contracts: "3", venue: "x" }, TRADES);
  assert.equal(item.kind, "trade");
  assert.ok(item.kind === "trade");
  assert.equal(item.fields.price, "1.50");
  assert.equal(item.fields.contracts, "3");
  assert.equal(item.fields["venue"], "x");
  assert.equal(item.stream.subject, "BTC-USD");
});

test("the order of fields does not matter", () => {
  const item = entry(1, Object.fromEntries(Object.entries(TRADE).reverse()), TRADES);
  assert.equal(item.kind, "trade");
});

test("an entry that cannot be parsed says why", () => {
  const { price: _, ...without } = TRADE;
  for (const [fields, why] of [
    [without, /no field 'price'/],
    [{ ...TRADE, recv: "" }, /recv: "" is not an integer/],
    [{ ...TRADE, ts: "1.5" }, /ts: "1.5" is not an integer/],
    [{ ...TRADE, type: "snapshot", xseq: "", bids: "", asks: "" }, /a snapshot does not belong in a stream of trades/],
    [{ field: "value" }, /no field 'type'/],
  ] as const) {
    const item = entry(1, fields, TRADES);
    assert.ok(item.kind === "undecodable", JSON.stringify(fields));
    assert.match(item.error, why);
  }
});

test("names of Object.prototype are names like others", () => {
  assert.equal(entry(1, { type: "constructor" }, TRADES).kind, "unknown");
  assert.equal(entry(1, { type: "__proto__" }, TRADES).kind, "unknown");
  const item = entry(1, { ...TRADE, ["__proto__"]: "x", toString: "y" }, TRADES);
  assert.ok(item.kind === "trade");
  assert.equal(item.fields["toString"], "y");
});

test("a type or control event of a newer version is unknown", () => {
  assert.equal(entry(1, { type: "auction" }, TRADES).kind, "unknown");
  const item = control(1, "halted", "", TRADES);
  assert.ok(item.kind === "unknown");
  assert.match(item.error, /unknown control event "halted"/);
});

test("keys are built and parsed", () => {
  const keys = new Keys("prod");
  assert.equal(keys.stream("coinbase", "BTC-USD", "book"), "prod:md:{coinbase:BTC-USD}:book");
  assert.equal(keys.stream("lmex", "main/bot", "fills"), "prod:acct:{lmex:main/bot}:fills");
  assert.equal(keys.snapshot("coinbase", "BTC-USD"), "prod:md:{coinbase:BTC-USD}:book:snapshot");
  assert.equal(keys.cursor("mine"), "prod:bridge:cursor:mine");
  assert.equal(keys.stream("a", "$&$1", "book"), "prod:md:{a:$&$1}:book");
  assert.equal(keys.candles("coinbase", "BTC-USD", "5m"), "prod:md:{coinbase:BTC-USD}:candles:5m");
  const minute = { exchange: "coinbase", subject: "BTC-USD", channel: "candles", interval: "1m" };
  assert.deepEqual(keys.parse("prod:md:{coinbase:BTC-USD}:candles:1m"), minute);
  for (const end of ["candles", "candles:", "candles:0m", "candles:1M", "candles:1m:x", "trades:1m"]) {
    assert.equal(keys.parse(`prod:md:{coinbase:BTC-USD}:${end}`), undefined, end);
  }
  assert.deepEqual(keys.parse("prod:acct:{lmex:main/bot}:fills"), { exchange: "lmex", subject: "main/bot", channel: "fills" });
  for (const other of [
    "md:{coinbase:BTC-USD}:book",
    "prod:md:{coinbase:BTC-USD}:fills",
    "prod:acct:{coinbase:main}:book",
    "prod:md:{coinbase:BTC-USD}:book:snapshot",
    "prod:md:{coinbase}:book",
    "prod:bridge:catalog",
  ]) {
    assert.equal(keys.parse(other), undefined, other);
  }
});

test("IDs are compared by both halves, beyond 53 bits", () => {
  assert.ok(compareIds("10-2", "9-10") > 0);
  assert.ok(compareIds("10-9", "10-10") < 0);
  assert.equal(compareIds("10", "10-0"), 0);
  assert.ok(compareIds("18446744073709551615-18446744073709551614", "18446744073709551615-18446744073709551615") < 0);
});

test("mistakes in arguments are said at once, without the password", () => {
  for (const url of ["localhost", "http://user:secret@h", "redis://:secret@h/x", "redis://", "unix://?db=x"]) {
    assert.throws(
      () => new Tickbridge(url),
      (error) => error instanceof TickbridgeError && /expected redis:\/\//.test(error.message) && !error.message.includes("secret"),
      url,
    );
  }
  assert.throws(() => new Tickbridge("redis://user:50%off@h"), /a % that is not part of an escape/);
  const tb = new Tickbridge("redis://h");
  assert.throws(() => tb.stream("bridge:catalog"), /not the key of a data stream/);
  assert.throws(() => tb.trades("coinbase", "BTC-USD", { count: 0 }), /count is 0/);
  assert.throws(() => tb.trades("coinbase", "BTC-USD", { blockMs: 1.5 }), /blockMs is 1.5/);
});

test("an account is kept from its streams", () => {
  const account = new Account("lmex", "main");
  let seq = 0;
  const take = (channel: string, fields: Record<string, string>): void => {
    seq += 1;
    account.take(entry(seq, { ts: "", recv: "1", ...fields }, `acct:{lmex:main}:${channel}`));
  };
  const order = { type: "order", order_id: "7", client_id: "", pair: "BTC-USD", kind: "limit", side: "buy", price: "1", size: "2", filled: "0" };
  take("balances", { type: "balance", currency: "BTC", available: "1.0", reserved: "0" });
  take("orders", { ...order, status: "open" });
  take("orders", { ...order, order_id: "", client_id: "mine", status: "partially_filled" });
  assert.deepEqual([...account.orders.keys()], ["BTC-USD 7", "BTC-USD client:mine"]);
  assert.equal(account.balances.get("BTC")?.available, "1.0");

  take("orders", { type: "control", event: "down", reason: "cut", count: "" });
  assert.deepEqual(account.channel("orders").state, "down: cut");
  assert.deepEqual([...account.unconfirmed], ["BTC-USD 7", "BTC-USD client:mine"]);
  take("orders", { ...order, status: "open" });
  assert.deepEqual([...account.unconfirmed], ["BTC-USD client:mine"]);
  take("orders", { type: "control", event: "lost", reason: "Redis lost acknowledged entries", count: "3" });
  assert.deepEqual([...account.unconfirmed].sort(), ["BTC-USD 7", "BTC-USD client:mine"]);
  take("orders", { ...order, status: "open" });
  const { key, stream } = entry(1, { ts: "", recv: "1", ...order, status: "open" }, "acct:{lmex:main}:orders");
  account.take({ kind: "reset", key, stream, id: "2-1", cursor: "1-9" });
  assert.deepEqual([...account.unconfirmed].sort(), ["BTC-USD 7", "BTC-USD client:mine"]);
  take("orders", { ...order, status: "filled" });
  take("orders", { ...order, order_id: "", client_id: "mine", status: "" });
  assert.equal(account.orders.size, 0);
  assert.equal(account.unconfirmed.size, 0);

  const position = { type: "position", pair: "BTC-PERP", size: "1", entry_price: "1", mark_price: "1", unrealised_pnl: "0" };
  take("positions", { ...position, side: "long", leg: "long" });
  take("positions", { ...position, side: "short", leg: "short" });
  take("positions", { ...position, side: "", leg: "long" });
  assert.deepEqual([...account.positions.keys()], ["BTC-PERP short"]);

  take("fills", { type: "fill", fill_id: "f", order_id: "7", pair: "BTC-USD", side: "buy", price: "1", size: "2", fee: "", fee_currency: "" });
  take("fills", { type: "control", event: "gap", reason: "", count: "2" });
  assert.equal(account.fills, 1);
  assert.equal(account.lastFill?.fill_id, "f");
  assert.deepEqual({ ...account.channel("fills"), id: "" }, { state: "gap", gaps: 1, id: "" });
  const hole: Item = { kind: "hole", key: "", stream: { exchange: "lmex", subject: "main", channel: "fills" }, id: "9-99", count: 2 };
  account.take(hole);
  assert.equal(account.channel("fills").state, "hole: 2 entries");
  assert.equal(account.channel("fills").gaps, 2);
});
