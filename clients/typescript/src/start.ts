// Where a reader starts in a stream.

import { Book } from "./book.js";
import { isMissing, isWrongType } from "./connection.js";
import { TickbridgeError } from "./errors.js";
import { BOOK_CHANNELS } from "./generated.js";
import { compareIds, parseId, splitId } from "./ids.js";
import { toItem, type EntryOf, type Item } from "./items.js";
import type { Keys, StreamKey } from "./keys.js";

const PAGE = 500;

/**
 * Where to start: `"now"` for new entries only, `"start"` for the oldest entry, `"snapshot"` for the newest full book, or
 * the ID of an entry, after which reading starts.
 */
export type Start = "now" | "start" | "snapshot" | (string & {});

/** A position in a stream: after `id`, where the entry `nextSeq` is expected (`undefined`: any). */
export interface Cursor {
  readonly id: string;
  readonly nextSeq: bigint | undefined;
}

/** Where to go on, and the book of the late-join hash if the reader starts from it. */
export interface StartPoint {
  readonly cursor: Cursor;
  readonly first?: EntryOf<"snapshot">;
}

/** Sends a command to Redis; repeated while Redis is unreachable. */
export type Ask = (command: string, ...args: (string | number)[]) => Promise<unknown>;

/**
 * The position that `start` means at this moment.
 *
 * @throws {TickbridgeError} it is not an ID, or the stream has no snapshots.
 */
export async function resolveStart(ask: Ask, keys: Keys, key: string, stream: StreamKey, start: Start): Promise<StartPoint> {
  if (start === "start") return { cursor: { id: "0-0", nextSeq: undefined } };
  if (start === "now") return { cursor: after(await lastId(ask, key)) };
  if (start === "snapshot") {
    if (!(BOOK_CHANNELS as readonly string[]).includes(stream.channel)) {
      throw new TickbridgeError(`${key}: only a stream of books has snapshots to start from`);
    }
    return newestSnapshot(ask, keys, key, stream);
  }
  const id = parseId(start);
  if (!id) {
    throw new TickbridgeError(`${JSON.stringify(start)} is neither an entry ID (ms-seq) nor "now", "start" or "snapshot"`);
  }
  // A time without a seq says nothing about which entry comes next.
  return { cursor: { id: start, nextSeq: id.seq === 0n ? undefined : id.seq + 1n } };
}

/** The position that a reader saved under a name; `undefined` if there is none, or if it is not an ID. */
export async function savedId(ask: Ask, keys: Keys, name: string, key: string): Promise<string | undefined> {
  const saved = await ask("HGET", keys.cursor(name), key);
  return typeof saved === "string" && parseId(saved) ? saved : undefined;
}

function after(id: string): Cursor {
  return { id, nextSeq: splitId(id).seq + 1n };
}

/** The last ID that was ever added to the stream; `0-0` if there is no stream. */
async function lastId(ask: Ask, key: string): Promise<string> {
  try {
    const info = (await ask("XINFO", "STREAM", key)) as unknown[];
    return String(info[info.indexOf("last-generated-id") + 1]);
  } catch (error) {
    if (isWrongType(error) || isMissing(error)) return "0-0";
    throw error;
  }
}

/** An entry of a reply: its ID, and its fields and values in turn. */
export type RawEntry = [id: string, flat: string[]];

/** Search backwards from the end for the newest snapshot entry, but no further than the late-join hash. */
async function newestSnapshot(ask: Ask, keys: Keys, key: string, stream: StreamKey): Promise<StartPoint> {
  const end = await lastId(ask, key);
  const hashed = stream.channel === "book" ? await fromHash(ask, keys, key, stream, end) : undefined;
  if (end === "0-0") return { cursor: after(end) };
  const floor = hashed ? `(${hashed.id}` : "-";
  let ceiling = "+";
  for (;;) {
    const page = (await ask("XREVRANGE", key, ceiling, floor, "COUNT", PAGE)) as RawEntry[];
    for (const [id, flat] of page) {
      if (flat.some((name, place) => place % 2 === 0 && name === "type" && flat[place + 1] === "snapshot")) {
        const { ms, seq } = splitId(id);
        const cursor =
          seq > 0n ? { id: `${ms}-${seq - 1n}`, nextSeq: seq } : { id: ms > 0n ? `${ms - 1n}` : "0-0", nextSeq: undefined };
        return { cursor };
      }
    }
    const last = page.at(-1);
    if (page.length < PAGE || !last) break;
    ceiling = `(${last[0]}`;
  }
  if (hashed) return { cursor: after(hashed.id), first: hashed };
  return { cursor: after(end) };
}

/** The book of the late-join hash, if nothing is missing between it and what the stream still holds. */
async function fromHash(
  ask: Ask,
  keys: Keys,
  key: string,
  stream: StreamKey,
  end: string,
): Promise<EntryOf<"snapshot"> | undefined> {
  let flat: string[];
  try {
    flat = (await ask("HGETALL", keys.snapshot(stream.exchange, stream.subject))) as string[];
  } catch (error) {
    if (isWrongType(error)) return undefined; // not a hash: use the snapshots in the stream
    throw error;
  }
  const place = flat.findIndex((name, index) => index % 2 === 0 && name === "id");
  const id = place < 0 ? "" : (flat[place + 1] ?? "");
  if (!parseId(id) || compareIds(id, end) > 0) return undefined;
  const item: Item = toItem(key, stream, id, [...flat, "type", "snapshot", "ts", ""]);
  if (item.kind !== "snapshot") return undefined;
  const book = new Book(stream.exchange, stream.subject);
  book.take(item);
  if (!book.valid) return undefined; // its levels cannot be used
  // Contiguous if the stream still has the hash's own entry or the next one, or ends at it.
  const next = ((await ask("XRANGE", key, id, "+", "COUNT", 1)) as RawEntry[])[0];
  const joined = next ? next[0] === id || splitId(next[0]).seq === splitId(id).seq + 1n : end === id;
  return joined ? item : undefined;
}
