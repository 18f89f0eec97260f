// The gateway's clock, by which entries have their IDs: the browser's may be wrong.

let ahead = 0;
let known = false;

/** An answer of the gateway said that it is now `ms`; the answer took a while, so the least late one counts most. */
export function clockSeen(ms: string): void {
  const found = Number(ms) - Date.now();
  if (!Number.isFinite(found) || !ms) return;
  ahead = !known || Math.abs(found - ahead) > 5_000 ? found : Math.max(ahead - 1, found);
  known = true;
}

/** Now, by the gateway's clock, in milliseconds since the epoch. */
export function gatewayNow(): number {
  return Date.now() + ahead;
}
