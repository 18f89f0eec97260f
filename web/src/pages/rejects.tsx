import { useMemo } from "preact/hooks";
import { dateAndClock } from "../model/format";
import { msOf } from "../model/ids";
import { usePoll } from "../net/poll";
import type { Rejects, Streams } from "../net/types";
import { Panel } from "../ui/parts";
import { go, link, route } from "../ui/route";
import { useStore } from "../ui/store";

const POLL_MS = 5_000;

export function RejectsPage() {
  const { path } = useStore(route);
  const { data: streams } = usePoll<Streams>("api/streams", POLL_MS);
  const exchanges = useMemo(() => [...new Set((streams?.streams ?? []).map((row) => row.exchange))].sort(), [streams]);
  const exchange = path[1] ?? exchanges[0] ?? "";
  const { data, error } = usePoll<Rejects>(exchange ? "api/rejects" : "", POLL_MS, { exchange, count: "100" });
  const rows = data?.rejects ?? [];
  return (
    <main class="page">
      <header class="pair-head">
        <h1>
          <select
            aria-label="Exchange"
            value={exchange}
            onChange={(event) => go(link(["rejects", event.currentTarget.value]))}
          >
            {!exchanges.includes(exchange) && <option value={exchange}>{exchange || "no exchange"}</option>}
            {exchanges.map((one) => (
              <option key={one} value={one}>
                {one}
              </option>
            ))}
          </select>
        </h1>
        <a class="button" href={link(["entries"])}>
          Entries
        </a>
      </header>
      <Panel title="Frames that could not be parsed">
        {error && (
          <p class="problem" role="alert">
            {error}
          </p>
        )}
        {rows.length === 0 && !error && (
          <p class="empty">{data ? "None: every frame of this exchange was understood." : "Asking the gateway …"}</p>
        )}
        {rows.map(({ id, fields }) => (
          <article class="reject" key={id}>
            <header>
              <b class="bad">{fields.error}</b>
              <span class="muted">
                {dateAndClock(msOf(id))}, {fields.connector} {fields.connection}
                {fields.omitted && fields.omitted !== "0" ? `, ${fields.omitted} more were left out before it` : ""}
              </span>
            </header>
            <pre>{fields.raw}</pre>
          </article>
        ))}
      </Panel>
    </main>
  );
}
