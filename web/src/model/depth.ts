import type { Level } from "./book";

/** Levels a side that are drawn. */
const LEVELS = 300;

type Sums = (number | null)[];

/** Prices in ascending order, and the sizes that are bid down to them, or asked up to them: sums for pixels. */
export function depth(bids: readonly Level[], asks: readonly Level[]): [number[], Sums, Sums] {
  // Both sides reach equally far, so that their steepness can be compared.
  const reach = Math.min(extent(bids), extent(asks));
  const left = sums(bids, reach);
  const right = sums(asks, reach);
  left.prices.reverse();
  left.totals.reverse();
  return [
    [...left.prices, ...right.prices],
    [...left.totals, ...right.totals.map(() => null)],
    [...left.totals.map(() => null), ...right.totals],
  ];
}

function extent(levels: readonly Level[]): number {
  const first = levels[0];
  const last = levels[Math.min(levels.length, LEVELS) - 1];
  return first && last ? Math.abs(last.pixels - first.pixels) : Infinity;
}

function sums(levels: readonly Level[], reach: number): { prices: number[]; totals: number[] } {
  const prices: number[] = [];
  const totals: number[] = [];
  let total = 0;
  for (const level of levels.slice(0, LEVELS)) {
    if (Math.abs(level.pixels - levels[0]!.pixels) > reach) break;
    total += Number(level.size);
    prices.push(level.pixels);
    totals.push(total);
  }
  return { prices, totals };
}
