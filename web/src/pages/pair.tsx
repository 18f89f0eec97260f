import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { gatewayNow } from "../net/clock";
import { usePoll } from "../net/poll";
import type { StreamRow, Streams } from "../net/types";
import { Band, ControlLog } from "../ui/band";
import { CandleChart } from "../ui/candle-chart";
import { DepthChart } from "../ui/depth-chart";
import { useKeys } from "../ui/keys";
import { Ladder } from "../ui/ladder";
import { Choice, Panel, State } from "../ui/parts";
import { go, link, route } from "../ui/route";
import { useRedraw, useStore, useTicking } from "../ui/store";
import { Tape } from "../ui/tape";
import { PairModel } from "./pair-model";
import { Ticker } from "./ticker";

const POLL_MS = 2_000;
/** Nobody reads a ladder faster. */
const LADDER_MS = 120;
const CHART_MS = 500;

/** Spans of time, and the candles that suit them; milliseconds. */
const SPANS = {
  "5m": { title: "5 min", span: 300_000, interval: 5_000 },
  "15m": { title: "15 min", span: 900_000, interval: 15_000 },
  "1h": { title: "1 h", span: 3_600_000, interval: 60_000 },
} as const;
type SpanName = keyof typeof SPANS;

const ORDER = ["trades", "book", "book10", "quotes", "ticker", "funding", "mark", "interest", "liquidations"];

/** Where a stream is shown; candles of any interval are last. */
const place = (row: StreamRow): number => (ORDER.includes(row.channel) ? ORDER.indexOf(row.channel) : ORDER.length);

export function PairPage() {
  const { path, query } = useStore(route);
  const { data, error } = usePoll<Streams>("api/streams", POLL_MS);
  const pairs = useMemo(() => {
    const found = new Map<string, StreamRow[]>();
    for (const row of data?.streams ?? []) {
      if (row.pair === undefined) continue;
      const name = `${row.exchange} ${row.pair}`;
      found.set(name, [...(found.get(name) ?? []), row]);
    }
    return found;
  }, [data]);
  const names = [...pairs.keys()].sort();
  const name = path[1] && path[2] ? `${path[1]} ${path[2]}` : (names[0] ?? "");
  const rows = [...(pairs.get(name) ?? [])].sort((a, b) => place(a) - place(b));
  const chosen = query.get("span") ?? "";
  const span: SpanName = chosen in SPANS ? (chosen as SpanName) : "15m";
  const select = useRef<HTMLSelectElement>(null);
  const step = useRef((_: number) => {});
  step.current = (by) => {
    const next = names[names.indexOf(name) + by];
    if (next) show(next, span);
  };
  useKeys(
    useMemo(
      () => ({ "/": () => select.current?.focus(), j: () => step.current(1), k: () => step.current(-1) }),
      [],
    ),
  );

  return (
    <main class="page pair">
      <header class="pair-head">
        <h1>
          <select
            ref={select}
            aria-label="Pair"
            value={name}
            onChange={(event) => show(event.currentTarget.value, span)}
          >
            {!pairs.has(name) && <option value={name}>{name || "no pair"}</option>}
            {names.map((one) => (
              <option key={one} value={one}>
                {one}
              </option>
            ))}
          </select>
        </h1>
        <Choice
          label="Span of time"
          options={Object.entries(SPANS).map(([value, { title }]) => [value as SpanName, title] as const)}
          value={span}
          onChange={(value) => show(name, value)}
        />
      </header>
      {rows.length > 0 && <Pair key={`${name} ${span} ${rows.map((row) => row.key).join()}`} rows={rows} span={span} />}
      {rows.length === 0 && <p class="empty">{data ? `There are no streams of ${name || "any pair"}.` : error || "Asking the gateway …"}</p>}
    </main>
  );
}

function show(name: string, span: SpanName): void {
  const [exchange = "", pair = ""] = name.split(" ");
  go(link(["pair", exchange, pair], { span: span === "15m" ? "" : span }));
}

function Pair({ rows, span }: { rows: readonly StreamRow[]; span: SpanName }) {
  const { span: length, interval } = SPANS[span];
  const [model, setModel] = useState<PairModel | null>(null);
  useEffect(() => {
    const made = new PairModel(rows, length, interval);
    setModel(made);
    return () => made.close();
  }, []);
  if (!model) return null;
  const book = rows.find((row) => row.channel === "book") ?? rows.find((row) => row.channel === "book10");
  const trades = rows.find((row) => row.channel === "trades");
  return (
    <>
      <Prices rows={rows} model={model} />
      <div class="pair-grid">
        <History rows={rows} model={model} length={length} />
        {book && <Book title={book.channel === "book10" ? "Book, ten levels" : "Book"} model={model} />}
        {trades && <Trades stream={trades.key} model={model} />}
        {book && <Depth model={model} />}
      </div>
    </>
  );
}

/** Draws the component again when the model changes, at most once in `pause` milliseconds. */
function useModel(model: PairModel, pause: number): void {
  const redraw = useRedraw(pause);
  useEffect(() => model.watch(redraw), [model]);
}

function Prices({ rows, model }: { rows: readonly StreamRow[]; model: PairModel }) {
  useModel(model, CHART_MS);
  return <Ticker newest={model.newest} live={new Set(rows.filter((row) => row.live).map((row) => row.channel))} />;
}

function Book({ title, model }: { title: string; model: PairModel }) {
  useModel(model, LADDER_MS);
  const { book } = model;
  const seq = <span class="muted">{book.id && `seq ${book.id.split("-")[1]}`}</span>;
  return (
    <Panel title={title} className={`ladder-panel ${book.valid ? "" : "invalid"}`} side={seq}>
      <Invalid model={model} />
      <div class="fades">
        <Ladder book={book} />
      </div>
    </Panel>
  );
}

function Trades({ stream, model }: { stream: string; model: PairModel }) {
  useModel(model, 2 * LADDER_MS);
  return (
    <Panel title="Trades" className="tape-panel">
      <Tape rows={model.tape} stream={stream} />
    </Panel>
  );
}

function History({ rows, model, length }: { rows: readonly StreamRow[]; model: PairModel; length: number }) {
  useTicking(CHART_MS);
  const to = gatewayNow();
  const from = to - length;
  const lanes = rows.flatMap((row) => {
    const timeline = model.timelines.get(row.channel);
    // What a killed connector no longer writes, its missing heartbeat says.
    const state = row.live ? "live" : row.state === "live" ? "unknown" : row.state;
    return timeline ? [{ channel: row.channel, key: row.key, state, timeline }] : [];
  });
  return (
    <Panel
      title="Control entries and candles"
      className="history"
      side={rows.map((row) => (
        <a key={row.key} href={link(["entries"], { key: row.key })} title={row.reason || row.key}>
          <State state={`${row.channel} ${row.live ? "live" : row.state === "live" ? "no heartbeat" : row.state}`} live={row.live} />
        </a>
      ))}
    >
      <Band lanes={lanes} from={from} to={to} />
      <CandleChart bars={model.candles.bars} interval={model.candles.interval} from={from} to={to} />
      <details class="log-box">
        <summary>Control entries as a list</summary>
        <ControlLog lanes={lanes} from={from} to={to} />
      </details>
    </Panel>
  );
}

function Depth({ model }: { model: PairModel }) {
  useTicking(CHART_MS);
  return (
    <Panel title="Depth" className={`depth-panel ${model.book.valid ? "" : "invalid"}`}>
      <Invalid model={model} />
      <div class="fades">
        <DepthChart book={model.book} />
      </div>
    </Panel>
  );
}

/** Why the book is not to be used. */
function Invalid({ model }: { model: PairModel }) {
  if (model.book.valid) return null;
  return (
    <p class="invalid-note" role="status">
      <b>Book invalid</b> {model.book.reason}
    </p>
  );
}
