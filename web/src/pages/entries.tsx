import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { nanoTime, clock, dateAndClock, timeFrom } from "../model/format";
import { msOf, splitId } from "../model/ids";
import { toItem } from "../model/items";
import { parseKey } from "../model/keys";
import { getJson, token } from "../net/api";
import { gatewayNow } from "../net/clock";
import { forget, report } from "../net/health";
import { usePoll } from "../net/poll";
import type { Entries, Entry, Streams } from "../net/types";
import { useKeys } from "../ui/keys";
import { Panel } from "../ui/parts";
import { go, link, route } from "../ui/route";
import { useStore } from "../ui/store";

const COUNT = 100;
const POLL_MS = 5_000;
/** Height of the list's heading, CSS pixels. */
const HEAD = 26;

/** What to ask the gateway for, from what the address says; an error for people. */
function question(at: string, before: string, after: string): Record<string, string> | string {
  if (before) return { before };
  if (after) return { after };
  if (!at) return {};
  if (splitId(at)) return { at: String(msOf(at)) };
  const ms = timeFrom(at, gatewayNow());
  if (ms === null) return `'${at}' is neither an entry ID nor a time, such as 12:34:56 or 2026-08-31 12:34:56`;
  return { at: String(ms) };
}

export function EntriesPage() {
  const { query } = useStore(route);
  const credentials = useStore(token);
  const { data } = usePoll<Streams>("api/streams", POLL_MS);
  const keys = useMemo(() => (data?.streams ?? []).map((row) => row.key).sort(), [data]);
  const key = query.get("key") || keys[0] || "";
  const at = query.get("at") ?? "";
  const before = query.get("before") ?? "";
  const after = query.get("after") ?? "";
  const [found, setFound] = useState<Entries | null>(null);
  const [error, setError] = useState("");
  const [chosen, choose] = useState("");
  const [round, again] = useState(0);
  const input = useRef<HTMLInputElement>(null);

  useEffect(() => {
    if (!key) return undefined;
    const asked = question(at, before, after);
    if (typeof asked === "string") {
      setError(asked);
      return undefined;
    }
    let over = false;
    getJson<Entries>("api/entries", { key, count: String(COUNT), ...asked }).then(
      (answer) => {
        if (over) return;
        report("api/entries", null);
        setError("");
        setFound(answer);
        const named = splitId(at) ? answer.entries.find(({ id }) => id === at) : undefined;
        const nearest = at && !named ? answer.entries[Math.floor(answer.entries.length / 2)] : undefined;
        choose((named ?? nearest ?? answer.entries[answer.entries.length - 1])?.id ?? "");
      },
      (problem: unknown) => {
        if (over) return;
        report("api/entries", problem);
        setError(problem instanceof Error ? problem.message : String(problem));
      },
    );
    return () => {
      over = true;
      forget("api/entries");
    };
  }, [key, at, before, after, round, credentials]);

  const rows = found?.key === key ? found.entries : [];
  const index = rows.findIndex(({ id }) => id === chosen);
  const step = useRef((_: number) => {});
  step.current = (by) => {
    const next = rows[Math.min(rows.length - 1, Math.max(0, index + by))];
    if (!next) return;
    choose(next.id);
  };
  // The list scrolls within its own box: the page stays where it is.
  useEffect(() => {
    const row = document.getElementById(`entry-${chosen}`);
    const box = row?.closest<HTMLElement>(".scroll");
    if (!row || !box) return;
    const top = row.offsetTop;
    const far = top < box.scrollTop + HEAD || top + 2 * row.offsetHeight > box.scrollTop + box.clientHeight;
    if (far) box.scrollTop = top - box.clientHeight / 2;
  }, [chosen, found]);
  useKeys(
    useMemo(
      () => ({
        "/": () => input.current?.select(),
        j: () => step.current(1),
        k: () => step.current(-1),
        ArrowDown: () => step.current(1),
        ArrowUp: () => step.current(-1),
      }),
      [],
    ),
  );
  const entry = rows[index];
  const oldest = rows[0];
  const newest = rows[rows.length - 1];
  return (
    <main class="page entries">
      <h1 class="hidden">Entries</h1>
      <form
        class="ask"
        onSubmit={(event) => {
          event.preventDefault();
          const form = new FormData(event.currentTarget);
          const asked = link(["entries"], { key: String(form.get("key")).trim(), at: String(form.get("at")).trim() });
          if (asked === location.hash) again((last) => last + 1);
          else go(asked);
        }}
      >
        <label class="stream-field">
          <span>Stream</span>
          <input name="key" list="stream-keys" value={key} spellcheck={false} autoComplete="off" />
          <datalist id="stream-keys">
            {keys.map((one) => (
              <option key={one} value={one} />
            ))}
          </datalist>
        </label>
        <label>
          <span>ID or time</span>
          <input ref={input} name="at" value={at} placeholder="newest" spellcheck={false} autoComplete="off" />
        </label>
        <button type="submit">Show</button>
        <span class="steps">
          <button
            type="button"
            disabled={!oldest || oldest.id === found?.first}
            onClick={() => go(link(["entries"], { key, before: oldest?.id ?? "" }))}
          >
            ‹ Older
          </button>
          <button
            type="button"
            disabled={!newest || newest.id === found?.last}
            onClick={() => go(link(["entries"], { key, after: newest?.id ?? "" }))}
          >
            Newer ›
          </button>
          <button type="button" onClick={() => (at || before || after ? go(link(["entries"], { key })) : again((last) => last + 1))}>
            Newest
          </button>
          <a class="button" href={link(["rejects"])}>
            Rejects
          </a>
        </span>
      </form>
      {error && (
        <p class="problem" role="alert">
          {error}
        </p>
      )}
      <div class="entries-grid">
        <Panel
          title="Entries"
          side={found && found.key === key && <span class="muted">the stream has {found.first || "none"} to {found.last || "none"}</span>}
        >
          <List rows={rows} channel={parseKey(key)?.channel ?? ""} chosen={chosen} onChoose={choose} />
        </Panel>
        {entry && <Detail entry={entry} channel={parseKey(key)?.channel ?? ""} />}
      </div>
    </main>
  );
}

function List(props: { rows: readonly Entry[]; channel: string; chosen: string; onChoose: (id: string) => void }) {
  const { rows, channel, chosen } = props;
  if (!rows.length) return <p class="empty">No entries here.</p>;
  return (
    <div class="scroll entries-list">
      <table class="plain">
        <thead>
          <tr>
            <th scope="col">Time</th>
            <th scope="col" class="number">
              Seq
            </th>
            <th scope="col">Type</th>
            <th scope="col">Content</th>
          </tr>
        </thead>
        <tbody>
          {rows.flatMap((entry, index) => {
            const missing = missingBefore(rows[index - 1], entry);
            const line = (
              <Line key={entry.id} entry={entry} channel={channel} chosen={entry.id === chosen} onChoose={props.onChoose} />
            );
            if (!missing) return [line];
            return [
              <tr key={`${entry.id} missing`} class="note">
                <td colSpan={4}>{missing}</td>
              </tr>,
              line,
            ];
          })}
        </tbody>
      </table>
    </div>
  );
}

function Line(props: { entry: Entry; channel: string; chosen: boolean; onChoose: (id: string) => void }) {
  const { entry, channel, chosen } = props;
  const item = toItem(channel, entry.id, entry.fields);
  const control = entry.fields.type === "control";
  const classes = [chosen && "chosen", control && "control", item.kind !== "entry" && "odd"].filter(Boolean).join(" ");
  return (
    <tr
      id={`entry-${entry.id}`}
      class={`opens ${classes}`}
      aria-current={chosen ? "true" : undefined}
      onClick={() => props.onChoose(entry.id)}
    >
      <td>{clock(msOf(entry.id), true)}</td>
      <td class="number">{entry.id.split("-")[1]}</td>
      <td class={control ? `event ${entry.fields.event}` : ""}>{control ? entry.fields.event : (entry.fields.type ?? "?")}</td>
      <td class="summary">{item.kind === "entry" ? summary(entry.fields) : "error" in item ? item.error : ""}</td>
    </tr>
  );
}

function missingBefore(last: Entry | undefined, entry: Entry): string {
  const [a, b] = [last && splitId(last.id), splitId(entry.id)];
  if (!a || !b || b.seq === a.seq + 1) return "";
  if (b.seq <= a.seq) return "the stream was deleted and created again here";
  const count = b.seq - a.seq - 1;
  return `${count} ${count === 1 ? "entry is" : "entries are"} missing here`;
}

/** The content of an entry in a line. */
function summary(fields: Readonly<Record<string, string>>): string {
  const { type, ts: _ts, recv: _recv, event: _event, ...rest } = fields;
  if (type === "snapshot" || type === "delta") {
    const sides = (["bids", "asks"] as const).map((side) => {
      const levels = (rest[side] ?? "").split(" ").filter(Boolean);
      return levels.length ? `${levels.length} ${levels.length === 1 ? side.slice(0, -1) : side} ${levels.slice(0, 2).join(" ")}${levels.length > 2 ? " …" : ""}` : "";
    });
    return sides.filter(Boolean).join("   ");
  }
  if (type === "control") return [rest.reason, rest.count && `count ${rest.count}`].filter(Boolean).join(", ");
  return Object.entries(rest)
    .filter(([, value]) => value)
    .map(([name, value]) => `${name} ${value}`)
    .join("  ");
}

const TIMES = new Set(["ts", "recv", "next_ts"]);
const CUT = 2_000;

function Detail({ entry, channel }: { entry: Entry; channel: string }) {
  const item = toItem(channel, entry.id, entry.fields);
  const raw = JSON.stringify({ id: entry.id, ...{ fields: entry.fields } }, null, 2);
  return (
    <Panel title={`Entry ${entry.id}`} className="detail">
      {item.kind !== "entry" && "error" in item && (
        <p class="problem">
          {item.kind}: {item.error}
        </p>
      )}
      <table class="plain fields">
        <tbody>
          <tr>
            <th scope="row">received</th>
            <td>{dateAndClock(msOf(entry.id))}</td>
          </tr>
          {Object.entries(entry.fields).map(([name, value]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td>
                <Value name={name} value={value} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <details>
        <summary>Raw</summary>
        <pre>{raw.length > 20 * CUT ? `${raw.slice(0, 20 * CUT)}\n… ${raw.length - 20 * CUT} more characters` : raw}</pre>
      </details>
    </Panel>
  );
}

function Value({ name, value }: { name: string; value: string }) {
  if (value === "") return <span class="muted">empty</span>;
  if (TIMES.has(name)) {
    return (
      <>
        {nanoTime(value)} <span class="muted">{value}</span>
      </>
    );
  }
  if (name === "bids" || name === "asks") {
    const levels = value.split(" ");
    return (
      <>
        <span class="muted">{levels.length === 1 ? "1 level" : `${levels.length} levels`}</span>
        <span class="levels">{levels.slice(0, 30).join("  ")}{levels.length > 30 ? ` … ${levels.length - 30} more` : ""}</span>
      </>
    );
  }
  return <>{value.length > CUT ? `${value.slice(0, CUT)} … ${value.length - CUT} more characters` : value}</>;
}
