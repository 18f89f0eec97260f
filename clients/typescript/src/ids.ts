// Entry IDs: `<ms>-<seq>`. Both halves have up to 64 bits, so they are compared as BigInt.

const ID = /^(\d+)(?:-(\d+))?$/;

/** The two halves of an entry's ID. */
export interface EntryId {
  /** When the entry was received, in milliseconds since the epoch. */
  readonly ms: bigint;
  /** Counts the entries of the stream; 0 in a bare time. */
  readonly seq: bigint;
}

/** The halves of an ID, or `undefined` if the text is not one. */
export function parseId(text: string): EntryId | undefined {
  const found = ID.exec(text);
  return found ? { ms: BigInt(found[1] ?? "0"), seq: BigInt(found[2] ?? "0") } : undefined;
}

/** The halves of an ID that Redis gave. */
export function splitId(text: string): EntryId {
  const id = parseId(text);
  if (!id) throw new RangeError(`${JSON.stringify(text.slice(0, 60))} is not an entry ID`);
  return id;
}

/** Below zero if `a` is the older entry, above zero if it is the newer one, and zero if they are the same. */
export function compareIds(a: string, b: string): number {
  const one = splitId(a);
  const other = splitId(b);
  if (one.ms !== other.ms) return one.ms < other.ms ? -1 : 1;
  return one.seq === other.seq ? 0 : one.seq < other.seq ? -1 : 1;
}
