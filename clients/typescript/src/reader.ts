import { slotOf } from "./cluster.js";
import { Connection, Outages, explain, refusesKey, type OnOutage } from "./connection.js";
import { TickbridgeError } from "./errors.js";
import { compareIds, splitId } from "./ids.js";
import { isStored, toItem, type Item } from "./items.js";
import type { Keys, StreamKey } from "./keys.js";
import { resolveStart, savedId, type Ask, type RawEntry, type Start } from "./start.js";
import type { Where } from "./where.js";

const RETRY_REFUSED_MS = 5_000;

/** How to read. */
export interface ReadOptions {
  /** Where to start: for all streams, or by key. Default: `"start"`; for a book `"snapshot"`. */
  readonly from?: Start | Readonly<Record<string, Start>>;
  /** Continue where `save(name)` left off; streams that it does not know start at `from`. */
  readonly resume?: string;
  /** Ends the loop. */
  readonly signal?: AbortSignal;
  /** The maximum number of entries of one stream in a read. Default: 1000. */
  readonly count?: number;
  /** For how long Redis keeps a read open, in milliseconds; so long it takes until an added stream is read. Default: 1000. */
  readonly blockMs?: number;
}

interface StreamPosition {
  readonly key: string;
  readonly slot: number;
  readonly stream: StreamKey;
  /** The last ID that was read. */
  id: string;
  nextSeq: bigint | undefined;
  /** The last ID that was returned; empty until the book of a late-join hash has been. */
  returned: string;
  /** When a stream that Redis refused is tried again, and what it said. */
  retryAt: number;
  refusal: string;
}

type Reply = readonly (readonly [key: string, entries: readonly RawEntry[]])[];

/** A read of the streams of a slot, and what came of it. */
interface SlotRead {
  readonly due: readonly StreamPosition[];
  reply: Reply;
  error?: unknown;
}

/**
 * Reads any number of streams, item by item, and goes on after outages of Redis.
 *
 *     for await (const item of tb.stream([trades, quotes], { from: "now" })) { … }
 *
 * Leaving the loop closes its connections. A reader can be iterated once.
 */
export class Reader implements AsyncIterableIterator<Item> {
  readonly #keys: Keys;
  readonly #where: Where;
  readonly #options: ReadOptions;
  readonly #count: number;
  readonly #blockMs: number;
  /** By slot. A single server answers for all streams at once; in a Cluster a read may name only those of one slot. */
  readonly #blocking = new Map<number, Connection>();
  /** For commands that must not wait behind a blocking read, by slot. */
  readonly #commands = new Map<number, Connection>();
  readonly #reading = new Set<number>();
  readonly #done: SlotRead[] = [];
  readonly #ended = new AbortController();
  readonly #outages: Outages;
  readonly #wanted = new Map<string, Start>();
  readonly #positions = new Map<string, StreamPosition>();
  readonly #ready: Item[] = [];
  #place = 0;
  #opened: Promise<void> | undefined;
  #tail: Promise<unknown> = Promise.resolve();
  #wake: () => void = () => undefined;

  /** @internal Use `Tickbridge.stream`. */
  constructor(where: Where, keys: Keys, streams: readonly string[], options: ReadOptions, onOutage: OnOutage, onClose: (reader: Reader) => void) {
    this.#where = where;
    this.#keys = keys;
    this.#options = options;
    this.#count = atLeastOne("count", options.count ?? 1000);
    this.#blockMs = atLeastOne("blockMs", options.blockMs ?? 1000);
    this.#outages = new Outages(where, this.#ended.signal, onOutage);
    this.#ended.signal.addEventListener("abort", () => onClose(this), { once: true });
    for (const key of streams) {
      this.#parse(key);
      this.#wanted.set(key, startOf(options.from, key));
    }
    if (options.signal?.aborted) this.close();
    else options.signal?.addEventListener("abort", () => this.close(), { once: true, signal: this.#ended.signal });
  }

  /**
   * Connect, and determine where each stream starts: from here on nothing is missed. The first `next` does it as well.
   *
   * @throws {TickbridgeError} Redis does not answer or refuses this client, or a start is not valid for its stream.
   */
  open(): Promise<void> {
    if (this.#ended.signal.aborted) return Promise.reject(new TickbridgeError("the reader is closed"));
    this.#opened ??= this.#open();
    return this.#opened;
  }

  /** The keys that are read. */
  get streams(): string[] {
    return [...(this.#opened ? this.#positions : this.#wanted).keys()];
  }

  /** Whether it was closed: by `close`, the signal, the end of a loop, or an error. */
  get closed(): boolean {
    return this.#ended.signal.aborted;
  }

  /** How many items were read and not returned yet. */
  get pending(): number {
    return this.#ready.length - this.#place;
  }

  /** The caller's position: key → ID of the last entry that was returned. */
  get cursors(): Map<string, string> {
    const cursors = new Map<string, string>();
    for (const { key, returned } of this.#positions.values()) if (returned) cursors.set(key, returned);
    return cursors;
  }

  /** Read one more stream; no effect if it is read already. */
  async add(key: string, from: Start = "start"): Promise<void> {
    this.#parse(key);
    await this.open();
    if (!this.#positions.has(key)) await this.#begin(key, from);
  }

  /** Stop reading a stream. */
  remove(key: string): void {
    this.#wanted.delete(key);
    this.#positions.delete(key);
    const left = this.#ready.slice(this.#place).filter((item) => item.key !== key);
    this.#ready.splice(0, this.#ready.length, ...left);
    this.#place = 0;
  }

  /** Save `cursors` in Redis, for `resume`. Call it when the items are processed; it may be after the loop. */
  async save(name: string): Promise<void> {
    const flat = [...this.cursors].flat();
    if (flat.length === 0) return;
    try {
      const key = this.#keys.cursor(name);
      await this.#asker(key)("HSET", key, ...flat);
    } finally {
      if (this.#ended.signal.aborted) this.#disconnect(); // opened once more, after the loop
    }
  }

  /** Close the connections. The loop ends. */
  close(): void {
    this.#ended.abort();
    this.#wake();
    this.#disconnect();
  }

  #disconnect(): void {
    for (const connection of [...this.#blocking.values(), ...this.#commands.values()]) connection.close();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** The next item. Several calls may wait at once; they are answered in turn. */
  next(): Promise<IteratorResult<Item>> {
    const turn = this.#tail.then(() => this.#next());
    this.#tail = turn.catch(() => undefined);
    return turn;
  }

  /** Ends a `for await` loop. */
  return(): Promise<IteratorResult<Item>> {
    this.close();
    return Promise.resolve({ done: true, value: undefined });
  }

  async #next(): Promise<IteratorResult<Item>> {
    try {
      await this.open();
      for (;;) {
        if (this.#ended.signal.aborted) return { done: true, value: undefined };
        const item = this.#take();
        if (item) return { done: false, value: item };
        await this.#read();
      }
    } catch (error) {
      if (this.#ended.signal.aborted) return { done: true, value: undefined };
      this.close();
      throw error;
    }
  }

  /** The next item of those that were read. */
  #take(): Item | undefined {
    while (this.#place < this.#ready.length) {
      const item = this.#ready[this.#place] as Item;
      this.#place += 1;
      const position = this.#positions.get(item.key);
      if (position && isStored(item)) position.returned = item.id;
      return item;
    }
    this.#ready.length = 0;
    this.#place = 0;
    return undefined;
  }

  async #open(): Promise<void> {
    const [first = ""] = this.#wanted.keys();
    await this.#asker(first)("PING");
    for (const [key, start] of this.#wanted) await this.#begin(key, start);
  }

  async #begin(key: string, start: Start): Promise<void> {
    const stream = this.#parse(key);
    const saved = this.#options.resume === undefined ? undefined : await this.#saved(this.#options.resume, key);
    let point;
    try {
      point = await resolveStart(this.#asker(key), this.#keys, key, stream, saved ?? start);
    } catch (error) {
      throw refusesKey(error) ? explain(error, this.#where) : error;
    }
    if (this.#positions.has(key)) return;
    const { cursor, first } = point;
    const returned = first ? "" : cursor.id;
    this.#positions.set(key, { key, slot: this.#slotOf(key), stream, ...cursor, returned, retryAt: 0, refusal: "" });
    if (first) this.#ready.push(first);
    this.#wake();
  }

  async #saved(name: string, key: string): Promise<string | undefined> {
    try {
      return await savedId(this.#asker(this.#keys.cursor(name)), this.#keys, name, key);
    } catch (error) {
      throw refusesKey(error) ? explain(error, this.#where) : error;
    }
  }

  /** Sends commands for a key; its stream's late-join hash is in the same slot. */
  #asker(key: string): Ask {
    const connection = this.#connection(this.#commands, this.#slotOf(key), 0);
    return (command, ...args) => this.#outages.outlive(() => connection.call(command, ...args));
  }

  #connection(kept: Map<number, Connection>, slot: number, blockMs: number): Connection {
    const found = kept.get(slot) ?? new Connection(this.#where, blockMs, slot);
    kept.set(slot, found);
    return found;
  }

  #slotOf(key: string): number {
    return this.#where.cluster ? slotOf(key) : 0;
  }

  /** Wait for what the next read gives, or until there is something to read. */
  async #read(): Promise<void> {
    const now = performance.now();
    const slots = new Map<number, StreamPosition[]>();
    for (const position of this.#positions.values()) {
      if (position.retryAt > now || this.#reading.has(position.slot)) continue;
      const due = slots.get(position.slot);
      if (due) due.push(position);
      else slots.set(position.slot, [position]);
    }
    for (const [slot, due] of slots) this.#beginRead(slot, due);
    if (this.#done.length === 0) await this.#idle(now);
    for (let read = this.#done.shift(); read; read = this.#done.shift()) await this.#takeRead(read);
  }

  /** Read streams of a slot; `#done` has it when it is over. */
  #beginRead(slot: number, due: readonly StreamPosition[]): void {
    const connection = this.#connection(this.#blocking, slot, this.#blockMs);
    const keys = due.map((position) => position.key);
    const ids = due.map((position) => position.id);
    const xread = ["COUNT", this.#count, "BLOCK", this.#blockMs, "STREAMS", ...keys, ...ids];
    const over = (read: SlotRead): void => {
      this.#reading.delete(slot);
      this.#done.push(read);
      this.#wake();
    };
    this.#reading.add(slot);
    this.#outages.outlive(() => connection.call("XREAD", ...xread)).then(
      (reply) => over({ due, reply: (reply ?? []) as Reply }),
      (error: unknown) => over({ due, reply: [], error }),
    );
  }

  async #takeRead({ due, reply, error }: SlotRead): Promise<void> {
    if (error !== undefined) {
      if (!refusesKey(error)) throw error;
      await this.#leaveOut(due, error);
      return;
    }
    for (const position of due) position.refusal = "";
    for (const [key, entries] of reply) {
      const position = this.#positions.get(key);
      const first = entries[0];
      if (!position || !first || !due.includes(position)) continue; // it was removed meanwhile
      await this.#lookForTrim(position, first[0]);
      if (this.#positions.get(key) === position) this.#decode(position, entries);
    }
  }

  /** Wait until a read is over, a stream is added, or one that was refused is to be tried again. */
  async #idle(now: number): Promise<void> {
    const retries = [...this.#positions.values()].map(({ retryAt }) => retryAt - now).filter((wait) => wait > 0);
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (retries.length > 0) timer = setTimeout(resolve, Math.min(...retries));
    });
    clearTimeout(timer);
  }

  /** Turn a stream's raw entries into items. */
  #decode(position: StreamPosition, entries: readonly RawEntry[]): void {
    const { key, stream } = position;
    for (const [id, flat] of entries) {
      const { seq } = splitId(id);
      const expected = position.nextSeq;
      if (expected !== undefined && seq !== expected) {
        this.#ready.push(
          seq > expected
            ? { kind: "hole", key, stream, id, count: Number(seq - expected) }
            : { kind: "reset", key, stream, id, cursor: position.id },
        );
      }
      position.nextSeq = seq + 1n;
      position.id = id;
      this.#ready.push(toItem(key, stream, id, flat));
    }
  }

  /** A hole before the first entry that was read is due to trimming if that entry is now the stream's oldest. */
  async #lookForTrim(position: StreamPosition, id: string): Promise<void> {
    const { seq } = splitId(id);
    if (position.nextSeq === undefined || seq <= position.nextSeq) return;
    let before: unknown[];
    try {
      before = (await this.#asker(position.key)("XREVRANGE", position.key, `(${id}`, "-", "COUNT", 1)) as unknown[];
    } catch (error) {
      if (!refusesKey(error)) throw error;
      return; // the stream is gone: a hole
    }
    if (before.length > 0 || this.#positions.get(position.key) !== position) return;
    const { key, stream } = position;
    const count = Number(seq - position.nextSeq);
    this.#ready.push({ kind: "trimmed", key, stream, id, cursor: position.id, count });
    position.nextSeq = seq;
  }

  /** Find the streams that Redis refuses, and leave them out for a while, so that the others continue. */
  async #leaveOut(due: readonly StreamPosition[], first: Error): Promise<void> {
    for (const position of due) {
      if (!this.#positions.has(position.key)) continue;
      try {
        await this.#asker(position.key)("XREAD", "COUNT", 1, "STREAMS", position.key, position.id);
        position.refusal = "";
      } catch (error) {
        if (!refusesKey(error)) throw error;
        position.retryAt = performance.now() + RETRY_REFUSED_MS;
        if (position.refusal === error.message) continue;
        position.refusal = error.message;
        this.#ready.push({ kind: "unreadable", key: position.key, stream: position.stream, error: error.message });
      }
    }
    const all = [...this.#positions.values()];
    if (all.length > 0 && all.every(({ refusal }) => refusal.startsWith("NOPERM"))) {
      this.#ready.length = 0;
      throw explain(first, this.#where);
    }
  }

  #parse(key: string): StreamKey {
    const stream = this.#keys.parse(key);
    if (stream) return stream;
    const within = this.#keys.namespace ? ` in the namespace ${JSON.stringify(this.#keys.namespace)}` : "";
    throw new TickbridgeError(`${JSON.stringify(key)} is not the key of a data stream${within}`);
  }
}

/** @internal Whether everything up to `id` of a stream has been returned. */
export function hasReturned(reader: Reader, key: string, id: string): boolean {
  const cursor = reader.cursors.get(key);
  return cursor !== undefined && compareIds(cursor, id) >= 0;
}

function startOf(from: ReadOptions["from"], key: string): Start {
  if (from === undefined) return "start";
  return typeof from === "string" ? from : (from[key] ?? "start");
}

function atLeastOne(name: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 1) throw new TickbridgeError(`${name} is ${value}; it must be a whole number of at least 1`);
  return value;
}
