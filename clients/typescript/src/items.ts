import { CONTROL_EVENTS, SHAPES, type EntryFields, type EntryType, type Shape } from "./generated.js";
import type { StreamKey } from "./keys.js";

/** What all items have. */
export interface ItemHead {
  /** The stream's key. */
  readonly key: string;
  /** The parts of the key. */
  readonly stream: StreamKey;
}

/** An entry of the type `T`. */
export interface EntryOf<T extends EntryType> extends ItemHead {
  readonly kind: T;
  /** The entry's ID, `<ms>-<seq>`. */
  readonly id: string;
  readonly fields: EntryFields[T];
}

/** An entry; `kind` is its type: `trade`, `snapshot`, `delta`, `control` and so on. */
export type Entry = { [T in EntryType]: EntryOf<T> }[EntryType];

/** An entry that this version cannot parse. It counts as missing. */
export interface Undecodable extends ItemHead {
  readonly kind: "undecodable";
  readonly id: string;
  readonly raw: Readonly<Record<string, string>>;
  readonly error: string;
}

/** An entry of a type, or of a control event, that this version does not know. Any control entry makes a book invalid. */
export interface Unknown extends ItemHead {
  readonly kind: "unknown";
  readonly id: string;
  readonly raw: Readonly<Record<string, string>>;
  readonly error: string;
}

/** `count` entries before `id` are missing in the stream. */
export interface Hole extends ItemHead {
  readonly kind: "hole";
  readonly id: string;
  readonly count: number;
}

/** Retention has removed `count` entries between `cursor`, the reader's position, and `id`, now the oldest entry. */
export interface Trimmed extends ItemHead {
  readonly kind: "trimmed";
  readonly id: string;
  readonly cursor: string;
  readonly count: number;
}

/** The stream was deleted and created again: after `cursor` came `id`, with a lower `seq`. */
export interface Reset extends ItemHead {
  readonly kind: "reset";
  readonly id: string;
  readonly cursor: string;
}

/**
 * Redis refuses to read this stream: its key holds something else, or this user may not read it. Comes once; the
 * reader goes on with its other streams and tries this one every five seconds.
 */
export interface Unreadable extends ItemHead {
  readonly kind: "unreadable";
  readonly error: string;
}

/** What interrupts a stream. */
export type Interruption = Hole | Trimmed | Reset | Unreadable;

/** What a reader yields. */
export type Item = Entry | Undecodable | Unknown | Interruption;

/** Whether the item is an entry of the stream; all others say that something is missing. */
export function isStored(item: Item): item is Entry | Undecodable | Unknown {
  return item.kind !== "hole" && item.kind !== "trimmed" && item.kind !== "reset" && item.kind !== "unreadable";
}

/** A level of a book: price and size with the exchange's own digits. */
export interface Level {
  readonly price: string;
  readonly size: string;
}

/**
 * Levels such as `7994.50:1.134 7994.20:0.5`.
 *
 * @throws {RangeError} a level is not `price:size`.
 */
export function parseLevels(text: string): Level[] {
  const levels: Level[] = [];
  for (const word of text.split(/\s+/)) {
    if (word === "") continue;
    const colon = word.indexOf(":");
    if (colon < 0 || word.includes(":", colon + 1)) {
      throw new RangeError(`${JSON.stringify(word.slice(0, 60))} is not price:size`);
    }
    levels.push({ price: word.slice(0, colon), size: word.slice(colon + 1) });
  }
  return levels;
}

/** Levels as the text of an entry. */
export function formatLevels(levels: readonly Level[]): string {
  return levels.map((level) => `${level.price}:${level.size}`).join(" ");
}

/** A raw entry as an item, whatever it contains. `flat` has fields and values in turn. */
export function toItem(key: string, stream: StreamKey, id: string, flat: readonly string[]): Entry | Undecodable | Unknown {
  // Without a prototype: a field may be called __proto__.
  const raw = Object.create(null) as Record<string, string>;
  for (let place = 0; place + 1 < flat.length; place += 2) {
    raw[flat[place] as string] = flat[place + 1] as string;
  }
  const type = raw["type"];
  if (type === undefined) return { kind: "undecodable", key, stream, id, raw, error: "no field 'type'" };
  const shape = Object.hasOwn(SHAPES, type) ? SHAPES[type as EntryType] : undefined;
  if (!shape) return { kind: "unknown", key, stream, id, raw, error: `unknown type ${quoted(type)}` };
  const error = mistake(type, shape, stream, raw);
  if (error) return { kind: "undecodable", key, stream, id, raw, error };
  if (type === "control" && !(CONTROL_EVENTS as readonly string[]).includes(raw["event"] as string)) {
    return { kind: "unknown", key, stream, id, raw, error: `unknown control event ${quoted(raw["event"] ?? "")}` };
  }
  return { kind: type, key, stream, id, fields: raw } as unknown as Entry;
}

const INTEGER = /^-?\d+$/;

/** What is wrong with an entry of a known type; empty if nothing is. */
function mistake(type: string, shape: Shape, stream: StreamKey, raw: Readonly<Record<string, string>>): string {
  const missing = shape.fields.filter((name) => raw[name] === undefined);
  if (missing.length > 0) return `${type}: no field ${missing.map((name) => `'${name}'`).join(", ")}`;
  if (!shape.channels.includes(stream.channel)) return `a ${type} does not belong in a stream of ${stream.channel}`;
  for (const name of shape.integers) {
    const value = raw[name] as string;
    if (!INTEGER.test(value) && (value !== "" || name === "recv")) return `${name}: ${quoted(value)} is not an integer`;
  }
  for (const name of shape.levels) {
    try {
      parseLevels(raw[name] as string);
    } catch (error) {
      return `${name}: ${(error as Error).message}`;
    }
  }
  return "";
}

/** A value from outside in a message: not all of it, and on one line. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
