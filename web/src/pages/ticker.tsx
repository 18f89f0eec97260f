import type { Fields } from "../model/items";
import { nanoTime } from "../model/format";
import { Tile } from "../ui/parts";

interface Props {
  /** The newest entry by channel. */
  readonly newest: ReadonlyMap<string, Fields>;
  /** The channels that are live; what the others said last is old, and grey. */
  readonly live: ReadonlySet<string>;
}

/** The newest quote, ticker, funding, mark price and open interest of a pair, with the exchange's digits. */
export function Ticker({ newest, live }: Props) {
  const ticker = newest.get("ticker");
  const quote = newest.get("quotes");
  const funding = newest.get("funding");
  const mark = newest.get("mark");
  const interest = newest.get("interest");
  const change = ticker?.change_pct ?? "";
  const tiles: (readonly [channel: string, label: string, value: string | undefined, tone?: string])[] = [
    ["ticker", "Last", ticker?.last],
    ["ticker", "Change", change && `${change.slice(0, 7)} %`, change.startsWith("-") ? "sell" : "buy"],
    ["ticker", "High", ticker?.high],
    ["ticker", "Low", ticker?.low],
    ["ticker", "Volume", ticker?.volume],
    ["quotes", "Bid", quote?.bid, "buy"],
    ["quotes", "Ask", quote?.ask, "sell"],
    ["mark", "Mark", mark?.mark],
    ["mark", "Index", mark?.index],
    ["funding", "Funding", funding?.rate],
    ["funding", "Next funding", funding && nanoTime(funding.next_ts ?? "").slice(11, 16)],
    ["interest", "Open interest", interest?.size],
  ];
  const shown = tiles.filter(([, , value]) => value);
  if (!shown.length) return null;
  return (
    <dl class="tiles ticker">
      {shown.map(([channel, label, value, tone]) => (
        <Tile key={label} label={label} value={value} tone={live.has(channel) ? tone : "old"} />
      ))}
    </dl>
  );
}
