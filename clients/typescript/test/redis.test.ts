// Against a real server, whose URL is in TICKBRIDGE_TEST_REDIS. Its database is emptied.

import assert from "node:assert/strict";
import { createServer, type AddressInfo } from "node:net";
import { after, before, beforeEach, describe, test } from "node:test";

import { Redis } from "ioredis";

import { Tickbridge, TickbridgeError, type Account, type Item } from "../src/index.js";

const url = process.env["TICKBRIDGE_TEST_REDIS"] ?? "";
const TRADES = "md:{coinbase:BTC-USD}:trades";
const BOOK = "md:{coinbase:BTC-USD}:book";
const ORDERS = "acct:{lmex:main}:orders";

/** A server that takes connections and says nothing. */
async function silent(): Promise<{ url: string; close: () => void }> {
  const server = createServer((socket) => socket.on("error", () => undefined).resume());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => server.close() };
}

describe("against a real server", { skip: url === "" && "TICKBRIDGE_TEST_REDIS is not set" }, () => {
  let redis: Redis;
  let tb: Tickbridge;

  before(() => {
    redis = new Redis(url);
  });
  beforeEach(async () => {
    tb?.close();
    tb = new Tickbridge(url);
    await redis.flushdb();
  });
  after(() => {
    tb.close();
    redis.disconnect();
  });

  async function add(key: string, seq: number, fields: Record<string, string>): Promise<void> {
    await redis.xadd(key, `${1795302525000 + seq}-${seq}`, ...Object.entries({ ts: "", recv: "1", ...fields }).flat());
  }
  const trade = (seq: number, key = TRADES): Promise<void> =>
    add(key, seq, { type: "trade", id: `t${seq}`, side: "buy", price: "1.50", size: "2" });
  const snapshot = (seq: number): Promise<void> => add(BOOK, seq, { type: "snapshot", xseq: "", bids: `1:${seq}`, asks: "2:1" });

  async function take(source: AsyncIterableIterator<Item>, count: number): Promise<Item[]> {
    const items: Item[] = [];
    while (items.length < count) {
      const { done, value } = await source.next();
      if (done) break;
      items.push(value as Item);
    }
    return items;
  }
  const ids = (items: Item[]): string[] => items.map((item) => ("id" in item ? item.id.replace(/^\d+-/, "") : item.kind));

  test("a loop that is left closes its connections", async () => {
    const clients = async (): Promise<number> => String(await redis.client("LIST")).trim().split("\n").length;
    const alone = await clients();
    await trade(1);
    await trade(2);
    for await (const item of tb.trades("coinbase", "BTC-USD")) {
      assert.equal(item.kind, "trade");
      assert.ok((await clients()) > alone);
      break;
    }
    while ((await clients()) > alone) await new Promise(setImmediate);
  });

  test("a signal ends a loop that waits", async () => {
    const aborting = new AbortController();
    let items = 0;
    await trade(1);
    for await (const _ of tb.trades("coinbase", "BTC-USD", { signal: aborting.signal, blockMs: 600_000 })) {
      items += 1;
      setImmediate(() => aborting.abort());
    }
    assert.equal(items, 1);
    for await (const _ of tb.trades("coinbase", "BTC-USD", { signal: aborting.signal })) assert.fail("it was aborted before");
  });

  test("close ends all loops of a client", async () => {
    const waiting = [tb.trades("coinbase", "BTC-USD", { blockMs: 600_000 }).next(), tb.book("coinbase", "BTC-USD").next()];
    await Promise.all([tb.stream(TRADES).open(), tb.stream(BOOK).open()]);
    tb.close();
    for (const { done } of await Promise.all(waiting)) assert.ok(done);
  });

  test("several calls of next are answered in turn", async () => {
    for (const seq of [1, 2, 3]) await trade(seq);
    const reader = tb.trades("coinbase", "BTC-USD");
    const found = await Promise.all([reader.next(), reader.next(), reader.next()]);
    assert.deepEqual(ids(found.map(({ value }) => value as Item)), ["1", "2", "3"]);
  });

  test("a saved position is continued, others start where they are told to", async () => {
    const other = "md:{coinbase:ETH-USD}:trades";
    for (const seq of [1, 2, 3]) await trade(seq);
    const first = tb.trades("coinbase", "BTC-USD");
    assert.deepEqual(ids(await take(first, 2)), ["1", "2"]);
    await first.save("mine");
    assert.deepEqual(await redis.hgetall("bridge:cursor:mine"), { [TRADES]: "1795302525002-2" });
    await take(first, 1);
    first.close();
    await first.save("later");
    assert.deepEqual(await redis.hgetall("bridge:cursor:later"), { [TRADES]: "1795302525003-3" });
    await trade(1, other);
    const second = tb.stream([TRADES, other], { resume: "mine", from: "now" });
    await second.open();
    await trade(2, other);
    assert.deepEqual(ids(await take(second, 2)).sort(), ["2", "3"]);
    await redis.hset("bridge:cursor:mine", TRADES, "nonsense");
    assert.deepEqual(ids(await take(tb.trades("coinbase", "BTC-USD", { resume: "mine" }), 1)), ["1"]);
  });

  test("a hole, a trimmed and a recreated stream are reported once", async () => {
    for (const seq of [1, 2, 4, 5]) await trade(seq);
    const reader = tb.trades("coinbase", "BTC-USD", { from: "1795302525001-1" });
    const [two, hole, four] = await take(reader, 3);
    assert.equal(two?.kind, "trade");
    assert.deepEqual(hole, { ...hole, kind: "hole", count: 1, id: "1795302525004-4" });
    assert.deepEqual(four?.kind, "trade");
    await take(reader, 1);
    for (const seq of [6, 7, 8]) await trade(seq);
    await redis.xtrim(TRADES, "MAXLEN", 1);
    const late = await take(tb.trades("coinbase", "BTC-USD", { from: "1795302525005-5" }), 2);
    assert.deepEqual(late[0], { ...late[0], kind: "trimmed", count: 2, id: "1795302525008-8", cursor: "1795302525005-5" });
    await redis.del(TRADES);
    await redis.xadd(TRADES, "1795302526000-1", "type", "control", "ts", "", "recv", "1", "event", "live", "reason", "", "count", "");
    const again = await take(tb.trades("coinbase", "BTC-USD", { from: "1795302525008-8" }), 2);
    assert.deepEqual(again[0], { ...again[0], kind: "reset", id: "1795302526000-1", cursor: "1795302525008-8" });
    assert.equal(again[1]?.kind, "control");
  });

  test("a key that holds something else is reported, the other streams go on", async () => {
    await redis.set(BOOK, "text");
    await trade(1);
    const reader = tb.stream([BOOK, TRADES]);
    const [unreadable, first] = await take(reader, 2);
    assert.ok(unreadable?.kind === "unreadable" && unreadable.error.startsWith("WRONGTYPE") && unreadable.key === BOOK);
    assert.equal(first?.key, TRADES);
    await redis.del(BOOK);
    await snapshot(1);
    const [back] = await take(reader, 1);
    assert.equal(back?.kind, "snapshot");
  });

  test("a stream that does not exist yet is waited for, wherever it starts", async () => {
    for (const from of ["now", "start", "snapshot", "0"]) {
      const reader = tb.stream(BOOK, { from });
      await reader.open();
      await snapshot(1);
      assert.deepEqual((await take(reader, 1))[0]?.kind, "snapshot", from);
      reader.close();
      await redis.del(BOOK);
    }
  });

  test("streams can be added and removed", async () => {
    await trade(1);
    await snapshot(1);
    const reader = tb.stream([TRADES], { blockMs: 10 });
    assert.deepEqual(ids(await take(reader, 1)), ["1"]);
    await reader.add(BOOK);
    assert.deepEqual((await take(reader, 1))[0]?.key, BOOK);
    reader.remove(TRADES);
    await trade(2);
    await snapshot(2);
    assert.deepEqual((await take(reader, 1))[0]?.key, BOOK);
    assert.deepEqual(reader.streams, [BOOK]);
    reader.remove(BOOK);
    const waiting = take(reader, 1);
    await reader.add(TRADES, "1795302525001-1");
    assert.deepEqual(ids(await waiting), ["2"]);
  });

  test("a book starts from the late-join hash, and is conflated on request", async () => {
    await redis.hset(`${BOOK}:snapshot`, { id: "1795302525001-1", xseq: "x", recv: "7", bids: "1:1", asks: "2:1" });
    await add(BOOK, 1, { type: "delta", xseq: "", bids: "", asks: "" });
    for (const seq of [2, 3, 4]) await add(BOOK, seq, { type: "delta", xseq: `x${seq}`, bids: `1:${seq}`, asks: "" });
    const seen: string[] = [];
    for await (const book of tb.book("coinbase", "BTC-USD")) {
      seen.push(`${book.id.split("-")[1]} ${book.xseq} ${book.best().bid?.size}`);
      if (book.id.endsWith("-4")) break;
    }
    assert.deepEqual(seen, ["1 x 1", "2 x2 2", "3 x3 3", "4 x4 4"]);
    const few: string[] = [];
    for await (const book of tb.book("coinbase", "BTC-USD", { conflate: true })) {
      few.push(book.id);
      if (book.id.endsWith("-4")) break;
    }
    assert.deepEqual(few, ["1795302525001-1", "1795302525004-4"]);
  });

  test("an account is read from its four streams", async () => {
    const order = { type: "order", order_id: "7", client_id: "", pair: "BTC-USD", kind: "limit", side: "buy", price: "1", size: "2", filled: "0", status: "open" };
    await add(ORDERS, 1, order);
    await add("acct:{lmex:main}:balances", 1, { type: "balance", currency: "BTC", available: "1", reserved: "0" });
    let account: Account | undefined;
    for await (account of tb.account("lmex", "main")) {
      if (account.orders.size + account.balances.size === 2) break;
    }
    assert.equal(account?.orders.get("BTC-USD 7")?.price, "1");
    assert.equal(account?.balances.get("BTC")?.available, "1");
  });

  test("a namespace is before every key", async () => {
    await trade(1, `prod:${TRADES}`);
    const prod = new Tickbridge(url, { namespace: "prod" });
    assert.deepEqual(ids(await take(prod.trades("coinbase", "BTC-USD"), 1)), ["1"]);
    assert.throws(() => prod.stream(TRADES), /not the key of a data stream in the namespace "prod"/);
    prod.close();
  });

  test("a connection that is cut is opened again, and nothing is missed", async () => {
    await trade(1);
    const outages: string[] = [];
    const mine = new Tickbridge(url, { onOutage: (error) => outages.push(error?.message ?? "over") });
    const reader = mine.trades("coinbase", "BTC-USD");
    assert.deepEqual(ids(await take(reader, 1)), ["1"]);
    const waiting = take(reader, 2);
    while (!String(await redis.client("LIST")).includes("cmd=xread")) await new Promise(setImmediate);
    await redis.client("KILL", "TYPE", "normal", "SKIPME", "yes");
    await trade(2);
    await trade(3);
    assert.deepEqual(ids(await waiting), ["2", "3"]);
    assert.equal(outages.length % 2, 0);
    mine.close();
  });

  test("what cannot work is an error that says what to do", async () => {
    const port = new URL(url).port;
    const fails = (where: string, words: RegExp): Promise<void> =>
      assert.rejects(new Tickbridge(where).trades("coinbase", "BTC-USD").next(), (error) => {
        assert.ok(error instanceof TickbridgeError, String(error));
        assert.match(error.message, words);
        assert.ok(!error.message.includes("secret"), error.message);
        return true;
      });
    await fails("redis://:secret@127.0.0.1:1", /127.0.0.1:1 is unreachable: the connection was refused/);
    await fails("redis://no-such-host.invalid", /no such host/);
    await fails(`redis://127.0.0.1:${port}/99999`, /DB index is out of range/);
    await fails("unix:///no/such/socket", /no such socket/);
    await fails(`redis://nobody:secret@127.0.0.1:${port}`, /wrong user or password/);
    await redis.call("ACL", "SETUSER", "limited", "on", ">secret", "+ping", "~*");
    await fails(`redis://limited:secret@127.0.0.1:${port}`, /lacks a permission/);
    await redis.call("ACL", "DELUSER", "limited");
    await assert.rejects(tb.trades("coinbase", "BTC-USD", { from: "yesterday" }).next(), /neither an entry ID/);
    await assert.rejects(tb.trades("coinbase", "BTC-USD", { from: "snapshot" }).next(), /only a stream of books/);
  });

  test("a server that says nothing is an error, not an endless wait", async () => {
    const server = await silent();
    await assert.rejects(
      new Tickbridge(server.url, { redis: { connectTimeout: 50 } }).trades("coinbase", "BTC-USD").next(),
      /is unreachable: no answer in time/,
    );
    server.close();
  });
});
