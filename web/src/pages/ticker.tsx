import type { Fields } from "../model/items";
import { nanoTime } from "../model/format";
import { Tile } from "../ui/parts";

/** The newest quote, ticker, funding, mark price and open interest of a pair, with the exchange's digits. */
export function Ticker({ newest }: { newest: ReadonlyMap<string, Fields> }) {
  const ticker = newest.get("ticker");
  const quote = newest.get("quotes");
  const funding = newest.get("funding");
  const mark = newest.get("mark");
  const interest = newest.get("interest");
  const change = ticker?.change_pct ?? "";
  const tiles: (readonly [label: string, value: string | undefined, tone?: string])[] = [
    ["Last", ticker?.last],
    ["Change", change && `${change.slice(0, 7)} %`, change.startsWith("-") ? "sell" : "buy"],
    ["High", ticker?.high],
    ["Low", ticker?.low],
    ["Volume", ticker?.volume],
    ["Bid", quote?.bid, "buy"],
    ["Ask", quote?.ask, "sell"],
    ["Mark", mark?.mark],
    ["Index", mark?.index],
    ["Funding", funding?.rate],
    ["Next funding", funding && nanoTime(funding.next_ts ?? "").slice(11, 16)],
    ["Open interest", interest?.size],
  ];
  const shown = tiles.filter(([, value]) => value);
  if (!shown.length) return null;
  return (
    <dl class="tiles ticker">
      {shown.map(([label, value, tone]) => (
        <Tile key={label} label={label} value={value} tone={tone} />
      ))}
    </dl>
  );
}
