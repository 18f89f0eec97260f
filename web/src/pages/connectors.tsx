import type { ComponentChildren } from "preact";
import { age, sum, whole } from "../model/format";
import { usePoll } from "../net/poll";
import type { Connectors as Answer, Heartbeat } from "../net/types";
import { State } from "../ui/parts";

const POLL_MS = 1_000;

interface Latency {
  readonly p50_ms: string;
  readonly p99_ms: string;
}

/** A field of the heartbeat; empty if it is missing. */
function field(row: Heartbeat, name: string): string {
  const value = row[name];
  return typeof value === "string" ? value : "";
}

export function Connectors() {
  const { data } = usePoll<Answer>("api/connectors", POLL_MS);
  if (!data?.connectors.length) return null;
  return (
    <section class="connectors" aria-label="Connectors">
      {data.connectors.map((row) => (
        <Connector key={row.name} row={row} now={Number(data.now)} />
      ))}
    </section>
  );
}

function Connector({ row, now }: { row: Heartbeat; now: number }) {
  const at = field(row, "at");
  const beat = /^\d{7,}$/.test(at) ? age(now - Number(at.slice(0, -6))) : "";
  const heartbeat = !row.alive ? "its heartbeat has expired" : `heartbeat ${!beat || beat === "now" ? beat : `${beat} ago`}`;
  return (
    <article class={row.alive ? "connector" : "connector dead"} aria-label={`Connector ${row.name}`}>
      <header>
        <h3>{row.name}</h3>
        <State state={row.alive ? field(row, "state") : "gone"} />
        <span class="muted" title={`heartbeat number ${field(row, "beat")}`}>
          {heartbeat}
        </span>
      </header>
      {row.alive && (
        <>
          <Sum row={row} />
          <Facts row={row} />
        </>
      )}
    </article>
  );
}

/** `received = published + lost`, and what is on its way. */
function Sum({ row }: { row: Heartbeat }) {
  const [received, published, lost] = ["received", "published", "lost"].map((name) => field(row, name)) as [
    string,
    string,
    string,
  ];
  const all = sum(received);
  const accounted = sum(published, lost);
  if (all === null || accounted === null) return null;
  const apart = all - accounted;
  const onTheWay = `${apart > 0n ? "+" : "−"} ${whole(String(apart > 0n ? apart : -apart))} on the way`;
  return (
    <p class="sum" title="At rest, received = published + lost. In motion, some events still wait for Redis.">
      <span>
        <b>{whole(received)}</b> received
      </span>
      <span>=</span>
      <span>
        <b>{whole(published)}</b> published
      </span>
      <span>+</span>
      <span class={lost === "0" ? "" : "bad"}>
        <b>{whole(lost)}</b> lost
      </span>
      <span class={apart === 0n ? "good" : "muted"}>{apart === 0n ? "✓" : onTheWay}</span>
    </p>
  );
}

function Facts({ row }: { row: Heartbeat }) {
  const up = field(row, "connections_up");
  const planned = field(row, "connections");
  return (
    <dl class="facts">
      <Fact label="Delay, median / p99" hint="From the exchange's time of an event to its receipt, in the last minute">
        <Delays text={field(row, "latency")} />
      </Fact>
      <Fact label="To Redis" hint="From receipt to Redis' acknowledgement, median / p99, since the start">
        {milliseconds(field(row, "publish_p50_ms"), field(row, "publish_p99_ms")) || "not known"}
      </Fact>
      <Fact label="Connections" bad={up !== planned} hint={`${field(row, "reconnects")} reconnects`}>
        {up && `${up} of ${planned}`}
      </Fact>
      <Fact label="Gaps" bad={field(row, "gaps") !== "0"}>
        {whole(field(row, "gaps"))}
      </Fact>
      <Fact label="Rejects" bad={field(row, "rejected") !== "0"}>
        {whole(field(row, "rejected"))}
      </Fact>
      <Fact
        label="Writer"
        hint={`instance ${field(row, "instance")}, version ${field(row, "version")}. The epoch is higher than that of every process that wrote for this connector before.`}
      >
        {field(row, "host") && `${field(row, "host")}, pid ${field(row, "pid")}, epoch ${field(row, "epoch")}`}
      </Fact>
      <Fact
        label="Standby"
        bad={row.standby !== undefined && row.standby["state"] !== "standby"}
        hint="The process that takes over if the writer is gone"
      >
        {standby(row.standby)}
      </Fact>
    </dl>
  );
}

function standby(fields: Heartbeat["standby"]): string {
  if (!fields) return "";
  const state = fields["state"] === "standby" ? "ready" : (fields["state"] ?? "");
  return `${fields["host"] ?? ""}, pid ${fields["pid"] ?? ""}: ${state}`;
}

function Fact(props: { label: string; hint?: string; bad?: boolean; children: ComponentChildren }) {
  if (props.children === "") return null; // the heartbeat lacks it
  return (
    <div title={props.hint}>
      <dt>{props.label}</dt>
      <dd class={props.bad ? "bad" : ""}>{props.children}</dd>
    </div>
  );
}

function milliseconds(median: string, worst: string): string {
  return median && worst ? `${short(median)} / ${short(worst)} ms` : "";
}

function short(text: string): string {
  const value = Number(text);
  return Number.isFinite(value) ? value.toFixed(Math.abs(value) < 10 ? 1 : 0) : text;
}

function Delays({ text }: { text: string }) {
  let channels: Record<string, Latency> = {};
  try {
    channels = JSON.parse(text) as Record<string, Latency>;
  } catch {
    // empty, as long as there is none
  }
  const rows = Object.entries(channels);
  if (!rows.length) return <>not known</>;
  return (
    <>
      {rows.map(([channel, latency]) => (
        <span class="delay" key={channel}>
          {channel} {milliseconds(latency.p50_ms, latency.p99_ms)}
        </span>
      ))}
    </>
  );
}
