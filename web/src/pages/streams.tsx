import { useMemo, useRef } from "preact/hooks";
import { age, rate, whole } from "../model/format";
import { retentionUsed, span } from "../model/retention";
import { usePoll } from "../net/poll";
import type { StreamRow, Streams } from "../net/types";
import { Connectors } from "./connectors";
import { Choice, Sparkline, State, Tile } from "../ui/parts";
import { go, link, route } from "../ui/route";
import { useKeys } from "../ui/keys";
import { useStore } from "../ui/store";
import { sorted, Table, type Column } from "../ui/table";

const POLL_MS = 1_000;

/** Entries per second, over the last five seconds. */
function current(row: StreamRow): number {
  const last = row.rate.slice(-5);
  return last.length ? last.reduce((total, value) => total + value, 0) / last.length : 0;
}

function subject(row: StreamRow): string {
  return row.pair ?? row.account ?? "";
}

/** Where a stream is shown. */
export function pageOf(row: StreamRow): string {
  if (row.account !== undefined) return link(["account", row.exchange, row.account]);
  return link(["pair", row.exchange, subject(row)]);
}

const COLUMNS: readonly Column<StreamRow>[] = [
  {
    id: "state",
    title: "State",
    order: (row) => (row.live ? "live" : `!${row.state}`),
    cell: (row) => <State state={row.state} live={row.live} />,
  },
  {
    id: "stream",
    title: "Stream",
    className: "name",
    order: (row) => `${row.exchange} ${subject(row)} ${row.channel}`,
    cell: (row) => (
      <a href={pageOf(row)} title={row.key}>
        <span class="muted">{row.exchange}</span> {subject(row)} <b>{row.channel}</b>
      </a>
    ),
  },
  {
    id: "rate",
    title: "Rate/s",
    className: "number rate",
    hint: "Entries per second, and the last 60 seconds",
    order: current,
    cell: (row) => (
      <>
        <Sparkline values={row.rate} />
        <span>{rate(current(row))}</span>
      </>
    ),
  },
  {
    id: "age",
    title: "Age",
    className: "number wide",
    hint: "Time since the last entry",
    order: (row) => (row.age_ms ? Number(row.age_ms) : Infinity),
    cell: (row) => age(row.age_ms ? Number(row.age_ms) : null),
  },
  {
    id: "seq",
    title: "Seq",
    className: "number wide",
    hint: "Number of the last entry",
    order: (row) => Number(row.seq),
    cell: (row) => (
      <a href={link(["entries"], { key: row.key })} title={`Look at the entries of ${row.key}`}>
        {whole(row.seq)}
      </a>
    ),
  },
  {
    id: "gaps",
    title: "Gaps",
    className: "number",
    hint: "Gap entries today",
    order: (row) => Number(row.gaps),
    cell: (row) => <Count value={row.gaps} />,
  },
  {
    id: "lost",
    title: "Lost",
    className: "number",
    hint: "Events declared lost today",
    order: (row) => Number(row.lost),
    cell: (row) => <Count value={row.lost} />,
  },
  {
    id: "entries",
    title: "Kept",
    className: "number wide",
    hint: "Entries in Redis, how far back they go, and how much of its retention that is",
    order: (row) => Number(row.entries),
    cell: (row) => <Kept row={row} />,
  },
  {
    id: "connector",
    title: "Connector",
    className: "wide",
    order: (row) => row.connector,
    cell: (row) => row.connector,
  },
];

function Count({ value }: { value: string }) {
  return <span class={Number(value) > 0 ? "bad" : "muted"}>{whole(value)}</span>;
}

export function StreamsPage() {
  const { query } = useStore(route);
  const { data, error } = usePoll<Streams>("api/streams", POLL_MS);
  const filter = query.get("filter") ?? "";
  const only = query.get("show") === "not-live" ? "not-live" : "all";
  const sort = query.get("sort") ?? "stream";
  const input = useRef<HTMLInputElement>(null);

  const show = (changed: Record<string, string>): void =>
    go(link(["streams"], { filter, show: only === "all" ? "" : only, sort: sort === "stream" ? "" : sort, ...changed }), true);
  const toggle = useRef(() => {});
  toggle.current = () => show({ show: only === "all" ? "not-live" : "" });
  useKeys(
    useMemo(() => ({ "/": () => input.current?.focus(), n: () => toggle.current() }), []),
  );

  const all = data?.streams ?? [];
  const rows = useMemo(() => {
    const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
    const found = all.filter(
      (row) =>
        (only === "all" || !row.live) &&
        words.every((word) => `${row.key} ${row.connector} ${row.state}`.toLowerCase().includes(word)),
    );
    return sorted(found, COLUMNS, sort);
  }, [data, filter, only, sort]);
  const live = all.filter((row) => row.live).length;
  const gaps = all.reduce((total, row) => total + Number(row.gaps), 0);
  const lost = all.reduce((total, row) => total + Number(row.lost), 0);

  return (
    <main class="page streams">
      <h1 class="hidden">Streams</h1>
      <dl class="tiles">
        <Tile label="Streams live" value={`${live} of ${all.length}`} tone={live < all.length ? "bad" : ""} />
        <Tile label="Entries per second" value={rate(all.reduce((total, row) => total + current(row), 0))} />
        <Tile label="Gaps today" value={whole(gaps)} tone={gaps ? "bad" : ""} />
        <Tile label="Lost today" value={whole(lost)} tone={lost ? "bad" : ""} />
      </dl>
      <Connectors />
      <section class="panel grow" aria-label="Streams">
        <header>
          <h2>Streams</h2>
          <div class="side">
            <input
              ref={input}
              type="search"
              placeholder="Filter  ( / )"
              aria-label="Filter the streams"
              value={filter}
              onInput={(event) => show({ filter: event.currentTarget.value })}
            />
            <Choice
              label="Which streams"
              options={[
                ["all", "All"],
                ["not-live", "Not live"],
              ]}
              value={only}
              onChange={(value) => show({ show: value === "all" ? "" : value })}
            />
            <span class="muted" role="status">
              {rows.length === all.length ? `${all.length}` : `${rows.length} of ${all.length}`}
            </span>
          </div>
        </header>
        <Table
          label="Streams"
          columns={COLUMNS}
          rows={rows}
          rowKey={(row) => row.key}
          rowClass={(row) => (row.live ? "" : "not-live")}
          onOpen={(row) => go(pageOf(row))}
          sort={sort}
          onSort={(value) => show({ sort: value === "stream" ? "" : value })}
          empty={emptiness(data !== null, all.length, error)}
        />
      </section>
    </main>
  );
}

function emptiness(answered: boolean, streams: number, error: string): string {
  if (!answered) return error || "Asking the gateway …";
  return streams ? "No stream matches." : "No streams yet: start a connector, and they appear here.";
}

function Kept({ row }: { row: StreamRow }) {
  const back = age(span(row));
  const used = retentionUsed(row);
  const limits = `retention keeps up to ${whole(row.max_entries)} entries, and up to ${age(Number(row.max_age) * 1_000)}`;
  return (
    <span title={used === null ? undefined : `${whole(row.entries)} entries, ${back}; ${limits}`}>
      {whole(row.entries)} {back && back !== "now" && <span class="muted">{back}</span>}
      {used !== null && <span class="used">{`${Math.round(used * 100)} %`}</span>}
    </span>
  );
}
