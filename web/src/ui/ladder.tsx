import type { BookKeeper, Level } from "../model/book";

/** Levels a side. */
const ROWS = 14;

export function Ladder({ book }: { book: BookKeeper }) {
  const bids = book.bids.levels.slice(0, ROWS);
  const asks = book.asks.levels.slice(0, ROWS);
  const top = Math.max(...[...bids, ...asks].map(({ size }) => Number(size) || 0), Number.MIN_VALUE);
  const blank = Array.from({ length: ROWS - asks.length }, () => null);
  return (
    <table class="plain ladder">
      <thead>
        <tr>
          <th scope="col" class="number">
            Price
          </th>
          <th scope="col" class="number">
            Size
          </th>
        </tr>
      </thead>
      <tbody class="asks">
        {[...blank, ...[...asks].reverse()].map((level, index) => (
          <Row key={ROWS - index} level={level} top={top} />
        ))}
      </tbody>
      <tbody class="middle">
        <tr>
          <td colSpan={2}>{spread(bids[0], asks[0])}</td>
        </tr>
      </tbody>
      <tbody class="bids">
        {Array.from({ length: ROWS }, (_, index) => (
          <Row key={index} level={bids[index] ?? null} top={top} />
        ))}
      </tbody>
    </table>
  );
}

function Row({ level, top }: { level: Level | null; top: number }) {
  return (
    <tr>
      <td class="number price">{level ? level.price : "\u00a0"}</td>
      <td class="number size">
        {level && (
          <>
            <i style={{ width: `${((Number(level.size) / top) * 100).toFixed(1)}%` }} aria-hidden="true" />
            <span>{level.size}</span>
          </>
        )}
      </td>
    </tr>
  );
}

function spread(bid: Level | undefined, ask: Level | undefined): string {
  if (!bid || !ask) return "\u00a0";
  const digits = Math.max(decimals(bid.price), decimals(ask.price));
  const apart = ask.pixels - bid.pixels;
  const points = (apart / ((ask.pixels + bid.pixels) / 2)) * 10_000;
  return `spread ${apart.toFixed(digits)} (${points.toFixed(points < 10 ? 2 : 0)} bp)`;
}

function decimals(text: string): number {
  return Math.min(12, (text.split(".")[1] ?? "").length);
}
