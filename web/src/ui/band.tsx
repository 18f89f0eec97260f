import { clock } from "../model/format";
import type { Timeline } from "../model/timeline";
import { link } from "./route";

interface Lane {
  readonly channel: string;
  readonly key: string;
  readonly state: string;
  readonly timeline: Timeline;
}

/** A lane per channel: the states of its stream over time, and a mark wherever entries are missing. */
export function Band({ lanes, from, to }: { lanes: readonly Lane[]; from: number; to: number }) {
  const place = (ms: number): string => `${(((ms - from) / (to - from)) * 100).toFixed(3)}%`;
  return (
    <div class="band" role="list" aria-label="Control entries over time">
      {lanes.map(({ channel, key, state, timeline }) => (
        <div class="lane" role="listitem" key={key}>
          <div class="track">
            {timeline.spans(from, to, state).map((span) => (
              <span
                key={span.from === from ? "first" : span.from}
                class={`span ${span.state}`}
                style={{ left: place(span.from), right: `calc(100% - ${place(span.to)})` }}
                title={`${channel}: ${span.state}${span.reason ? `, ${span.reason}` : ""}, ${clock(span.from)} to ${clock(span.to)}`}
              />
            ))}
            {timeline.missing(from, to).map((mark) => {
              const words = `${channel}, ${clock(mark.ms, true)}: ${mark.event}${mark.count ? ` of ${mark.count}` : ""}${mark.reason ? `, ${mark.reason}` : ""}`;
              return (
                <a
                  key={`${mark.id} ${mark.event}`}
                  class={`mark ${mark.event}`}
                  style={{ left: place(mark.ms) }}
                  href={link(["entries"], { key, at: mark.id })}
                  title={words}
                  aria-label={words}
                />
              );
            })}
          </div>
          <span class="lane-name">{channel}</span>
        </div>
      ))}
    </div>
  );
}

/** The control entries of all lanes as a list, newest first. */
export function ControlLog({ lanes, from, to }: { lanes: readonly Lane[]; from: number; to: number }) {
  const rows = lanes
    .flatMap(({ channel, key, timeline }) => timeline.marks.map((mark) => ({ channel, key, ...mark })))
    .filter((row) => row.ms >= from && row.ms <= to)
    .sort((a, b) => b.ms - a.ms)
    .slice(0, 50);
  if (!rows.length) return <p class="empty">No control entry in this time: nothing went wrong.</p>;
  return (
    <table class="plain log">
      <thead>
        <tr>
          <th scope="col">Time</th>
          <th scope="col">Stream</th>
          <th scope="col">Event</th>
          <th scope="col">Reason</th>
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={`${row.key} ${row.id} ${row.event}`}>
            <td>
              <a href={link(["entries"], { key: row.key, at: row.id })}>{clock(row.ms, true)}</a>
            </td>
            <td>{row.channel}</td>
            <td class={`event ${row.event}`}>
              {row.event}
              {row.count && ` of ${row.count}`}
            </td>
            <td>{row.reason}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
