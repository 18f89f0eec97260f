// The control entries of a stream as a band of time: spans of states, and marks where entries are missing.

import { msOf } from "./ids";
import type { Item } from "./items";

export interface Mark {
  readonly id: string;
  readonly ms: number;
  readonly event: string;
  readonly reason: string;
  readonly count: string;
}

export interface Span {
  readonly from: number;
  readonly to: number;
  /** `live`, `down`, `stale`, `stop`, or `unknown`. */
  readonly state: string;
  readonly reason: string;
}

const OUT = new Set(["down", "stale", "stop"]);
const MISSING = new Set(["gap", "lost"]);

export class Timeline {
  marks: Mark[] = [];

  constructor(private readonly limit = 2_000) {}

  take(item: Item): void {
    if (item.kind === "entry" || item.kind === "unknown") {
      if (item.fields.type !== "control") return;
      const { event = "", reason = "", count = "" } = item.fields;
      this.add({ id: item.id, ms: msOf(item.id), event, reason, count });
    } else if (item.kind === "hole" || item.kind === "trimmed") {
      this.add({
        id: item.before,
        ms: msOf(item.before),
        event: item.kind,
        reason: item.kind === "hole" ? "entries are missing in the stream" : "retention has removed entries",
        count: item.count ? String(item.count) : "",
      });
    } else if (item.kind === "reset") {
      const reason = "the stream was created again";
      this.add({ id: item.before, ms: msOf(item.before), event: "reset", reason, count: "" });
    }
  }

  /** History may come after newer entries, and entries may come twice: marks are kept in order, one per entry and event. */
  private add(mark: Mark): void {
    let place = this.marks.length;
    while (place > 0 && this.marks[place - 1]!.ms > mark.ms) place -= 1;
    for (let at = place - 1; at >= 0 && this.marks[at]!.ms === mark.ms; at -= 1) {
      if (this.marks[at]!.id === mark.id && this.marks[at]!.event === mark.event) return;
    }
    this.marks.splice(place, 0, mark);
    if (this.marks.length > this.limit) this.marks.splice(0, this.marks.length - this.limit);
  }

  /**
   * The states between two times. `state` is what the stream is at now; it counts where no control entry is known.
   * Before the first known entry: not live if that entry is `live`, live otherwise.
   */
  spans(from: number, to: number, state: string): Span[] {
    const turns = this.marks.filter((mark) => mark.event === "live" || OUT.has(mark.event));
    const spans: Span[] = [];
    const push = (start: number, end: number, name: string, reason: string): void => {
      const left = Math.max(start, from);
      const right = Math.min(end, to);
      if (right <= left) return;
      const last = spans[spans.length - 1];
      // A second `down` explains the first: its reason is the better one.
      if (last && last.state === name && last.to === left) {
        spans[spans.length - 1] = { from: last.from, to: right, state: name, reason: reason || last.reason };
      } else spans.push({ from: left, to: right, state: name, reason });
    };
    const first = turns[0];
    if (!first) {
      push(from, to, state || "unknown", "");
      return spans;
    }
    push(-Infinity, first.ms, first.event === "live" ? "unknown" : "live", "");
    turns.forEach((turn, index) => {
      push(turn.ms, turns[index + 1]?.ms ?? Infinity, turn.event, turn.event === "live" ? "" : turn.reason);
    });
    return spans;
  }

  /** Where entries are missing, between two times. */
  missing(from: number, to: number): Mark[] {
    return this.marks.filter((mark) => mark.ms >= from && mark.ms <= to && !OUT.has(mark.event) && mark.event !== "live");
  }

  /** The newest control entry, or `undefined`. */
  get last(): Mark | undefined {
    return this.marks.findLast((mark) => mark.event === "live" || OUT.has(mark.event) || MISSING.has(mark.event));
  }
}
