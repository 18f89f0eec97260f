// How much of its retention a stream uses.

export interface Kept {
  readonly entries: string;
  readonly last_id: string;
  readonly oldest_ms: string;
  readonly max_entries: string;
  /** In seconds. */
  readonly max_age: string;
}

/** Milliseconds between the oldest and the newest entry; 0 if one of them is not known. */
export function span({ last_id, oldest_ms }: Kept): number {
  const newest = Number(last_id.split("-")[0]);
  return oldest_ms && newest ? Math.max(0, newest - Number(oldest_ms)) : 0;
}

/** The share of its retention that a stream uses, from 0 to 1, by the limit that it reaches first; `null` if not known. */
export function retentionUsed(kept: Kept): number | null {
  const shares = [
    [Number(kept.entries || NaN), Number(kept.max_entries)],
    [span(kept), Number(kept.max_age) * 1_000],
  ] as const;
  const known = shares.filter(([used, limit]) => used >= 0 && limit > 0).map(([used, limit]) => used / limit);
  return known.length ? Math.min(1, Math.max(...known)) : null;
}
