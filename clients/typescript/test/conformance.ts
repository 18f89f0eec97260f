// A subject of the conformance tests: reads requests as JSON lines, answers each with a JSON line. See conformance/ at the
// top of the repository.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { Account, Book, Tickbridge, isPublic, isStored, type Item, type Level } from "../src/index.js";
import { hasReturned, type Reader } from "../src/reader.js";

interface Request {
  readonly redis?: string;
  readonly namespace?: string;
  readonly open?: string;
  readonly at?: string;
  readonly close?: string;
  readonly sync?: Readonly<Record<string, string>>;
  readonly end?: boolean;
}

interface Open {
  readonly reader: Reader;
  readonly book: Book | undefined;
  readonly account: Account | undefined;
  items: unknown[];
  state: string;
}

const streams = new Map<string, Open>();
let tb = new Tickbridge("redis://127.0.0.1:6379/0");

async function answer(request: Request): Promise<unknown> {
  if (request.redis !== undefined) {
    tb.close();
    streams.clear();
    tb = new Tickbridge(request.redis, { namespace: request.namespace ?? "" });
    const packaged = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as Record<string, string>;
    return { ok: true, client: `${packaged["name"]} ${packaged["version"]}` };
  }
  if (request.open !== undefined) return open(request.open, request.at ?? "start");
  if (request.close !== undefined) {
    streams.get(request.close)?.reader.close();
    streams.delete(request.close);
    return { ok: true };
  }
  if (request.sync !== undefined) return sync(request.sync);
  return { error: "unknown request" };
}

async function open(key: string, at: string): Promise<unknown> {
  const reader = tb.stream(key, { from: at });
  await reader.open();
  const stream = tb.keys.parse(key);
  if (!stream) throw new Error(`${key} is not a stream`);
  const { exchange, subject, channel } = stream;
  streams.get(key)?.reader.close();
  streams.set(key, {
    reader,
    book: channel === "book" || channel === "book10" ? new Book(exchange, subject, channel) : undefined,
    account: isPublic(channel) ? undefined : new Account(exchange, subject),
    items: [],
    state: "",
  });
  return { ok: true };
}

async function sync(wanted: Readonly<Record<string, string>>): Promise<unknown> {
  const found: Record<string, unknown> = {};
  for (const [key, one] of streams) {
    const last = wanted[key] ?? "0-0";
    while (one.reader.pending > 0 || !hasReturned(one.reader, key, last)) {
      const { done, value } = await one.reader.next();
      if (done) break;
      take(one, value as Item);
    }
    found[key] = {
      items: one.items,
      state: one.state,
      ...(one.book ? { book: asBook(one.book) } : {}),
      ...(one.account ? { wallet: asWallet(one.account) } : {}),
    };
    one.items = [];
  }
  return { streams: found };
}

function take(one: Open, item: Item): void {
  one.items.push(asItem(item));
  one.book?.take(item);
  one.account?.take(item);
  if (item.kind === "control") one.state = item.fields.event;
  else if (item.kind === "unknown" && item.raw["type"] === "control") one.state = item.raw["event"] ?? "";
}

function asItem(item: Item): unknown {
  switch (item.kind) {
    case "hole":
      return { hole: item.count, before: item.id };
    case "trimmed":
      return { trimmed: item.count, before: item.id };
    case "reset":
      return { reset: item.id };
    case "undecodable":
      return { undecodable: item.id };
    case "unknown":
      return { unknown: item.id };
    case "unreadable":
      return { unreadable: item.error };
    default:
      return isStored(item) ? { entry: item.id, ...item.fields } : {};
  }
}

function asBook(book: Book): unknown {
  if (!book.valid) return { valid: false, why: book.why };
  const levels = (side: readonly Level[]): string[][] => side.map((level) => [level.price, level.size]);
  const { bids, asks } = book.top();
  return { valid: true, id: book.id, xseq: book.xseq, bids: levels(bids), asks: levels(asks) };
}

function asWallet(account: Account): unknown {
  const balances: Record<string, unknown> = {};
  for (const [currency, { available, reserved }] of account.balances) balances[currency] = { available, reserved };
  return {
    balances,
    orders: Object.fromEntries(account.orders),
    positions: Object.fromEntries(account.positions),
    fills: account.fills,
  };
}

for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim() === "") continue;
  const request = JSON.parse(line) as Request;
  if (request.end) break;
  let reply: unknown;
  try {
    reply = await answer(request);
  } catch (error) {
    reply = { error: (error as Error).message };
  }
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}
tb.close();
process.stdin.destroy();
