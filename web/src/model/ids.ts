// Entry IDs: `<ms>-<seq>`.

export interface EntryId {
  readonly ms: number;
  readonly seq: number;
}

/** The two halves of an entry's ID, or `null` if it is none. Both stay far below 2^53. */
export function splitId(id: string): EntryId | null {
  const match = /^(\d{1,15})-(\d{1,15})$/.exec(id);
  return match ? { ms: Number(match[1]), seq: Number(match[2]) } : null;
}

/** When Tickbridge received the entry, in milliseconds since the epoch; 0 for what is no ID. */
export function msOf(id: string): number {
  return splitId(id)?.ms ?? 0;
}
