// Items as a reader would yield them.

import { Keys, type Item } from "../src/index.js";
import { toItem } from "../src/items.js";

export const KEY = "md:{coinbase:BTC-USD}:book";

/** An entry of a stream, from its fields. */
export function entry(seq: number, fields: Readonly<Record<string, string>>, key = KEY): Item {
  const stream = new Keys().parse(key);
  if (!stream) throw new Error(key);
  return toItem(key, stream, `${1795302525000 + seq}-${seq}`, Object.entries(fields).flat());
}

export function snapshot(seq: number, bids: string, asks: string, xseq = ""): Item {
  return entry(seq, { type: "snapshot", ts: "", recv: String(seq), xseq, bids, asks });
}

export function delta(seq: number, bids: string, asks: string, xseq = ""): Item {
  return entry(seq, { type: "delta", ts: "", recv: String(seq), xseq, bids, asks });
}

export function control(seq: number, event: string, reason = "", key = KEY): Item {
  return entry(seq, { type: "control", ts: "", recv: String(seq), event, reason, count: "" }, key);
}
