// What a stream yields: entries, and everything that interrupts it. Pure: from messages of the gateway to items.

import { parseLevels } from "./book";
import types from "./entry-types.json";
import { splitId } from "./ids";

export type Fields = Readonly<Record<string, string>>;

export type Item =
  | { readonly kind: "entry"; readonly id: string; readonly fields: Fields }
  /** A type, or a control event, that this page does not know. */
  | {
      readonly kind: "unknown";
      readonly id: string;
      readonly fields: Fields;
      readonly control: boolean;
      readonly error: string;
    }
  | { readonly kind: "undecodable"; readonly id: string; readonly fields: Fields; readonly error: string }
  | { readonly kind: "hole" | "trimmed"; readonly count: number; readonly before: string }
  | { readonly kind: "reset"; readonly before: string }
  | { readonly kind: "unreadable"; readonly error: string }
  /** The gateway left entries out on purpose, because this browser was too slow. */
  | { readonly kind: "skipped"; readonly count: number }
  /** The gateway says that the book is invalid. */
  | { readonly kind: "invalid"; readonly error: string }
  /** The connection to the gateway is gone. */
  | { readonly kind: "away"; readonly error: string };

const EVENTS = new Set(["live", "down", "stale", "gap", "lost", "stop"]);
const TYPES: Record<string, { channels: string[]; fields: string[] }> = types;
const WHOLE = /^[+-]?\d+$/;

/** An entry of a stream of `channel` as an item, whatever it contains. */
export function toItem(channel: string, id: string, fields: Fields): Item {
  const undecodable = (error: string): Item => ({ kind: "undecodable", id, fields, error });
  const type = fields.type;
  if (type === undefined) return undecodable("no field 'type'");
  const shape = type === "control" ? { channels: [channel], fields: ["event", "reason", "count"] } : Object.hasOwn(TYPES, type) ? TYPES[type] : undefined;
  if (!shape) return { kind: "unknown", id, fields, control: false, error: `unknown type '${type}'` };
  const missing = ["ts", "recv", ...shape.fields].filter((name) => fields[name] === undefined);
  if (missing.length) return undecodable(`${type}: no field ${missing.map((name) => `'${name}'`).join(", ")}`);
  if (!shape.channels.includes(channel)) return undecodable(`a ${type} does not belong in a stream of ${channel}`);
  if (fields.ts && !WHOLE.test(fields.ts)) return undecodable(`ts '${fields.ts}' is not an integer`);
  if (!WHOLE.test(fields.recv!)) return undecodable(`recv '${fields.recv}' is not an integer`);
  if (type === "control" && !EVENTS.has(fields.event!)) {
    return { kind: "unknown", id, fields, control: true, error: `unknown control event '${fields.event}'` };
  }
  if (type === "snapshot" || type === "delta") {
    if (!parseLevels(fields.bids!) || !parseLevels(fields.asks!)) return undecodable("a level is not price:size");
  }
  return { kind: "entry", id, fields };
}

/**
 * Looks at the `seq` of each entry of one stream. Whatever the gateway says, a jump is a hole: the proof is in the IDs.
 */
export class Sequence {
  private seq = 0;
  /** Any step is right up to the entry with this ID; `""`: for the next entry only. */
  private free: string | null = "";

  /** What is missing is known: at the start, or up to the entry `before`. */
  expectAny(before = ""): void {
    this.free = before;
  }

  /** What is wrong with the step to this ID, or `null`. */
  step(id: string): Item | null {
    const found = splitId(id);
    if (!found) return null;
    const expected = this.seq + 1;
    const until = this.free === null ? null : splitId(this.free);
    const free = this.free !== null;
    if (!until || found.seq >= until.seq) this.free = null;
    this.seq = found.seq;
    if (free || found.seq === expected) return null;
    if (found.seq > expected) return { kind: "hole", count: found.seq - expected, before: id };
    return { kind: "reset", before: id };
  }
}
