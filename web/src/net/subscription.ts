// One stream of the gateway's WebSocket: from its messages to items. Protocol: docs/reference/web.md.

import { parseKey } from "../model/keys";
import { Sequence, toItem, type Item } from "../model/items";

export interface Wish {
  /** `now`, `start`, `snapshot`, or the ID of the last entry that is known. */
  readonly after: string;
  readonly types?: readonly string[];
  readonly conflate?: boolean;
}

export type Take = (item: Item) => void;

/** An element of the gateway's arrays: an entry with its fields, or a notice. */
export type Row = Readonly<Record<string, string>>;

/** Fields whose names the gateway needs for itself. */
const RENAMED = { event_id: "id", event_stream: "stream", event_notice: "notice" };
/** Books are not resumed: after a break, only a snapshot makes them valid. */
const BOOKS = new Set(["book", "book10"]);

export class Subscription {
  private readonly sequence = new Sequence();
  private readonly channel: string;
  private last = "";

  constructor(
    readonly stream: string,
    private readonly wish: Wish,
    private readonly take: Take,
  ) {
    this.channel = parseKey(stream)?.channel ?? "";
  }

  /** What to ask for, at first or after a break. */
  request(): Record<string, unknown> {
    const { after, types, conflate } = this.wish;
    const resumes = this.last !== "" && !(BOOKS.has(this.channel) && after === "snapshot");
    if (!resumes) this.sequence.expectAny();
    return { op: "subscribe", stream: this.stream, after: resumes ? this.last : after, types, conflate };
  }

  /** The connection is lost. */
  away(error: string): void {
    this.take({ kind: "away", error });
  }

  receive(row: Row): void {
    if (row.notice !== undefined) this.notice(row);
    else if (row.id !== undefined) this.entry(row.id, row);
  }

  private entry(id: string, row: Row): void {
    // With a filter, entries are left out on purpose: then the gateway alone can say what is missing.
    const wrong = this.wish.types ? null : this.sequence.step(id);
    if (wrong) this.take(wrong);
    this.last = id;
    const { stream: _stream, id: _id, ...rest } = row;
    const fields: Record<string, string> = { ...rest };
    for (const [sent, name] of Object.entries(RENAMED)) {
      const value = fields[sent];
      if (value === undefined) continue;
      delete fields[sent];
      fields[name] = value;
    }
    this.take(toItem(this.channel, id, fields));
  }

  private notice(row: Row): void {
    const before = row.before ?? "";
    const count = Number(row.count ?? 0);
    switch (row.notice) {
      case "hole":
      case "trimmed":
        this.sequence.expectAny(before);
        this.take({ kind: row.notice, count, before });
        break;
      case "reset":
        this.sequence.expectAny();
        this.take({ kind: "reset", before });
        break;
      case "conflated":
      case "dropped":
        this.sequence.expectAny(before);
        this.take({ kind: "skipped", count });
        break;
      case "invalid":
        this.sequence.expectAny();
        this.take({ kind: "invalid", error: row.message ?? "" });
        break;
      case "unreadable":
      case "error":
        this.sequence.expectAny();
        this.take({ kind: "unreadable", error: row.message ?? "" });
        break;
      default: // "subscribed", and notices of a newer gateway
        break;
    }
  }
}
