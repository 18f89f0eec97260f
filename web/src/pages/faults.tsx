import { useMemo, useState } from "preact/hooks";
import { streamKey } from "../model/keys";
import { postJson } from "../net/api";
import { usePoll } from "../net/poll";
import type { BookLevels, DemoProcess, Info, Simulator, Simulators, StreamBook } from "../net/types";
import { Panel, State } from "../ui/parts";

const POLL_MS = 1_000;
const DEPTH = 12;

/** The settings that the form has a field for, with what they are at first. */
const FIELDS: Readonly<Record<string, string>> = { count: "1", duration: "5", seconds: "1", status: "", every: "" };
const UNITS: Readonly<Record<string, string>> = { duration: "s", seconds: "s", every: "s" };

export function FaultsPage() {
  const { data: info } = usePoll<Info>("api/info", 3_000);
  const { data, error } = usePoll<Simulators>(info?.simulators.length ? "api/simulators" : "", POLL_MS);
  if (info && !info.simulators.length) {
    return (
      <main class="page">
        <p class="empty">
          No exchange here is simulated. The demo starts the gateway beside its simulators; otherwise give it --simulator.
        </p>
      </main>
    );
  }
  return (
    <main class="page">
      <h1 class="hidden">Faults</h1>
      {error && (
        <p class="problem" role="alert">
          {error}
        </p>
      )}
      {!data && !error && <p class="empty">Asking the gateway …</p>}
      {data?.simulators.map((row) => <One key={row.exchange} row={row} may={data.may_act} />)}
      {data && data.processes.length > 0 && <Processes rows={data.processes} may={data.may_act} />}
    </main>
  );
}

function Processes({ rows, may }: { rows: readonly DemoProcess[]; may: boolean }) {
  const [said, setSaid] = useState("");
  const kill = async (name: string): Promise<void> => {
    try {
      await postJson("api/simulators", { action: "kill", settings: { name } });
      setSaid("");
    } catch (error) {
      setSaid(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <Panel title="Processes of the demo" side={<span class="muted">the demo restarts what dies</span>}>
      {said && (
        <p class="problem" role="alert">
          {said}
        </p>
      )}
      <table class="plain processes">
        <thead>
          <tr>
            {["Process", "State", "PID", "Starts", ""].map((title) => (
              <th scope="col" key={title}>
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.name}>
              <td>{row.name}</td>
              <td>
                <State state={row.running ? "running" : row.ended || "not running"} live={row.running} />
              </td>
              <td>{row.pid}</td>
              <td>{row.starts}</td>
              <td>
                {may && (
                  <button type="button" disabled={!row.running} onClick={() => void kill(row.name)}>
                    Kill
                  </button>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  );
}

function One({ row, may }: { row: Simulator; may: boolean }) {
  const [pair, setPair] = useState("");
  const [said, setSaid] = useState({ words: "", bad: false });
  const chosen = pair || row.pairs?.[0] || "";
  const act = async (action: string, settings: Record<string, unknown> = {}): Promise<void> => {
    try {
      await postJson("api/simulators", { exchange: row.exchange, action, settings });
      setSaid({ words: `done: ${[action, ...Object.values(settings)].join(" ")}`, bad: false });
    } catch (error) {
      setSaid({ words: error instanceof Error ? error.message : String(error), bad: true });
    }
  };
  if (row.error) {
    return (
      <Panel title={`Simulated ${row.exchange}`}>
        <p class="problem" role="alert">
          {row.error}
        </p>
      </Panel>
    );
  }
  const active = row.active?.length ? `active: ${row.active.join(", ")}` : "no fault is active";
  return (
    <Panel
      title={`Simulated ${row.exchange}`}
      side={
        <span class={row.active?.length ? "bad" : "muted"} role="status">
          {row.paused ? `the market is paused, ${active}` : active}
        </span>
      }
    >
      {may ? <Levers row={row} pair={chosen} act={act} /> : <p class="muted note">Faults are for a token that may read every account.</p>}
      {said.words && (
        <p class={said.bad ? "problem" : "muted note"} role={said.bad ? "alert" : "status"}>
          {said.words}
        </p>
      )}
      <div class="levers">
        <label>
          Pair{" "}
          <select value={chosen} onChange={(event) => setPair(event.currentTarget.value)}>
            {row.pairs?.map((one) => (
              <option key={one} value={one}>
                {one}
              </option>
            ))}
          </select>
        </label>
      </div>
      {chosen && <Books exchange={row.exchange} pair={chosen} paused={row.paused === true} />}
    </Panel>
  );
}

interface LeversProps {
  readonly row: Simulator;
  readonly pair: string;
  readonly act: (action: string, settings?: Record<string, unknown>) => Promise<void>;
}

function Levers({ row, pair, act }: LeversProps) {
  const names = Object.keys(row.faults ?? {}).filter((name) => name !== "clear");
  const [name, setName] = useState(names[0] ?? "");
  const [values, setValues] = useState(FIELDS);
  const [only, setOnly] = useState(false);
  const takes = row.faults?.[name] ?? [];
  const inject = (event: Event): void => {
    event.preventDefault();
    const given = Object.entries(values).filter(([field, value]) => takes.includes(field) && value !== "");
    const settings = Object.fromEntries(given.map(([field, value]) => [field, Number(value)]));
    void act("fault", { fault: name, ...(only && takes.includes("pair") ? { pair } : {}), ...settings });
  };
  return (
    <form class="levers" onSubmit={inject} aria-label={`Faults of ${row.exchange}`}>
      <label>
        Fault{" "}
        <select name="fault" value={name} onChange={(event) => setName(event.currentTarget.value)}>
          {names.map((one) => (
            <option key={one} value={one}>
              {one}
            </option>
          ))}
        </select>
      </label>
      {Object.keys(FIELDS)
        .filter((field) => takes.includes(field))
        .map((field) => (
          <label key={field}>
            {field}{" "}
            <input
              type="number"
              min="0"
              step="any"
              name={field}
              value={values[field]}
              onInput={(event) => {
                const { value } = event.currentTarget;
                setValues((last) => ({ ...last, [field]: value }));
              }}
            />
            {UNITS[field] ? ` ${UNITS[field]}` : ""}
          </label>
        ))}
      {takes.includes("pair") && (
        <label>
          <input type="checkbox" name="only" checked={only} onChange={(event) => setOnly(event.currentTarget.checked)} /> only sockets with {pair}
        </label>
      )}
      <button type="submit">Inject</button>
      <button type="button" onClick={() => void act("fault", { fault: "clear" })}>
        End all faults
      </button>
      <button type="button" onClick={() => void act(row.paused ? "resume" : "pause")}>
        {row.paused ? "Resume the market" : "Pause the market"}
      </button>
    </form>
  );
}

/** The exchange's book beside the stream's. */
function Books({ exchange, pair, paused }: { exchange: string; pair: string; paused: boolean }) {
  const key = useKey(exchange, pair);
  const { data: truth, error } = usePoll<BookLevels>(key ? "api/simulators/book" : "", POLL_MS, { key });
  const { data: book, error: wrong } = usePoll<StreamBook>(key ? "api/book" : "", POLL_MS, { key });
  const equal = truth && book?.valid ? same(truth, book) : null;
  return (
    <>
      <p class="note" role="status">
        {verdict(equal, book, paused, error || wrong)}
      </p>
      <div class="books">
        <Levels title="The exchange's book" levels={truth} other={book?.valid ? book : null} />
        <Levels title="The stream's book" levels={book?.valid ? book : null} other={truth} invalid={book?.valid === false} />
      </div>
    </>
  );
}

/** The key of the pair's book, in the namespace of the gateway's streams. */
function useKey(exchange: string, pair: string): string {
  const { data: info } = usePoll<Info>("api/info", 3_000);
  return useMemo(() => (info ? streamKey(exchange, pair, "book", info.namespace) : ""), [info?.namespace, exchange, pair]);
}

function verdict(equal: boolean | null, book: StreamBook | null, paused: boolean, error: string): string {
  if (error) return error;
  if (book && !book.valid) return `The stream's book is invalid: ${book.reason}.`;
  if (equal === null) return "Reading both books …";
  if (equal) return "Both books are equal, at every level.";
  return paused ? "The books differ." : "The books differ at the moment: the market moves between two looks. Pause it to compare them.";
}

type Levels = readonly (readonly [price: string, size: string])[];

function same(one: BookLevels, other: BookLevels): boolean {
  return text(one.bids) === text(other.bids) && text(one.asks) === text(other.asks);
}

/** As text that is the same for the same numbers: the exchange may write more zeros. */
function text(levels: Levels): string {
  return levels.map((level) => level.map(plain).join(":")).join(" ");
}

function plain(value: string): string {
  return value.includes(".") ? value.replace(/\.?0+$/, "") : value;
}

interface LevelsProps {
  readonly title: string;
  readonly levels: BookLevels | null;
  readonly other: BookLevels | null;
  readonly invalid?: boolean;
}

function Levels({ title, levels, other, invalid = false }: LevelsProps) {
  const sides = [
    ["asks", [...(levels?.asks.slice(0, DEPTH) ?? [])].reverse(), other?.asks],
    ["bids", levels?.bids.slice(0, DEPTH) ?? [], other?.bids],
  ] as const;
  return (
    <table class={`plain ladder ${invalid ? "invalid" : ""}`} aria-label={title}>
      <caption>{title}</caption>
      {sides.map(([side, rows, others]) => {
        const known = new Set((others ?? []).map((level) => text([level])));
        return (
          <tbody key={side} class={side}>
            {rows.map(([price, size]) => (
              <tr key={price} class={others && !known.has(text([[price, size]])) ? "differs" : ""}>
                <td class="number price">{price}</td>
                <td class="number size">
                  <span>{size}</span>
                </td>
              </tr>
            ))}
          </tbody>
        );
      })}
    </table>
  );
}
