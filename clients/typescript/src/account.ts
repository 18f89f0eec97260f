import type { Balance, Fill, Order, Position } from "./generated.js";
import type { Item } from "./items.js";

const OPEN: readonly string[] = ["open", "partially_filled"];

/** What is known of one of an account's streams. */
export interface ChannelState {
  /** The last thing that happened to it: `live`, `down: …`, `gap: …`, `hole: …`; empty if nothing did yet. */
  readonly state: string;
  /** How often something was missing. */
  readonly gaps: number;
  /** The ID of the last entry that was taken. */
  readonly id: string;
}

/**
 * The state of an account, kept up to date from the items of its four streams.
 *
 * After an interruption the last values are old: each is correct again from its first new entry on. Orders that may have
 * changed meanwhile are in `unconfirmed`.
 */
export class Account {
  readonly exchange: string;
  readonly account: string;
  readonly #balances = new Map<string, Balance>();
  readonly #orders = new Map<string, Order>();
  readonly #positions = new Map<string, Position>();
  readonly #unconfirmed = new Set<string>();
  readonly #channels = new Map<string, ChannelState>();
  #fills = 0;
  #lastFill: Fill | undefined;
  #last: Item | undefined;

  constructor(exchange: string, account: string) {
    this.exchange = exchange;
    this.account = account;
  }

  /** Currency → its balance. */
  get balances(): ReadonlyMap<string, Balance> {
    return this.#balances;
  }

  /** The open orders: `<pair> <order id>` (only the ID, if the exchange gives no pair) → the order. */
  get orders(): ReadonlyMap<string, Order> {
    return this.#orders;
  }

  /** The names, as in `orders`, of those that were not reported since the stream of orders was interrupted. */
  get unconfirmed(): ReadonlySet<string> {
    return this.#unconfirmed;
  }

  /** The open positions: `<pair>`, or `<pair> <leg>` in hedge mode → the position. */
  get positions(): ReadonlyMap<string, Position> {
    return this.#positions;
  }

  /** How many executions there were in what was read. */
  get fills(): number {
    return this.#fills;
  }

  /** The last execution. */
  get lastFill(): Fill | undefined {
    return this.#lastFill;
  }

  /** The item that was taken last. */
  get last(): Item | undefined {
    return this.#last;
  }

  /** What is known of a stream: `orders`, `fills`, `balances` or `positions`. */
  channel(channel: string): ChannelState {
    return this.#channels.get(channel) ?? { state: "", gaps: 0, id: "" };
  }

  /** Take the next item of one of the account's streams. */
  take(item: Item): void {
    this.#last = item;
    const channel = item.stream.channel;
    if ("id" in item && item.kind !== "hole" && item.kind !== "trimmed" && item.kind !== "reset") {
      this.#change(channel, { id: item.id });
    }
    switch (item.kind) {
      case "balance":
        this.#balances.set(item.fields.currency, item.fields);
        break;
      case "position": {
        const name = named(item.fields.pair, item.fields.leg);
        if (item.fields.side) this.#positions.set(name, item.fields);
        else this.#positions.delete(name);
        break;
      }
      case "order": {
        const { pair, order_id: id, client_id: client, status } = item.fields;
        const name = named(pair, id || `client:${client}`);
        this.#unconfirmed.delete(name);
        if (OPEN.includes(status)) this.#orders.set(name, item.fields);
        else this.#orders.delete(name);
        break;
      }
      case "fill":
        this.#fills += 1;
        this.#lastFill = item.fields;
        break;
      case "control": {
        const { event, reason } = item.fields;
        const words = reason ? `${event}: ${reason}` : event;
        if (event === "live") this.#change(channel, { state: words });
        else if (event === "gap" || event === "lost") this.#missing(channel, words);
        else this.#interrupted(channel, words);
        break;
      }
      case "unknown":
        if (item.raw["type"] === "control") {
          const { event = "", reason = "" } = item.raw;
          this.#interrupted(channel, reason ? `${event}: ${reason}` : event);
        }
        break;
      case "undecodable":
        this.#missing(channel, `undecodable: ${item.error}`);
        break;
      case "hole":
      case "trimmed":
        this.#missing(channel, `${item.kind}: ${item.count} entries`);
        break;
      case "reset":
        // Whoever writes the new one may not know of orders that are only in the old one.
        this.#missing(channel, "reset: the stream was created again");
        break;
      case "unreadable":
        this.#interrupted(channel, `unreadable: ${item.error}`);
        break;
    }
  }

  /** The orders may have changed meanwhile; not every exchange reports after an outage which are closed. */
  #interrupted(channel: string, words: string): void {
    this.#change(channel, { state: words });
    if (channel === "orders") for (const name of this.#orders.keys()) this.#unconfirmed.add(name);
  }

  /** What is missing may have been the last word on an order. */
  #missing(channel: string, words: string): void {
    this.#interrupted(channel, words);
    this.#change(channel, { gaps: this.channel(channel).gaps + 1 });
  }

  #change(channel: string, change: Partial<ChannelState>): void {
    this.#channels.set(channel, { ...this.channel(channel), ...change });
  }
}

function named(...parts: (string | undefined)[]): string {
  return parts.filter(Boolean).join(" ");
}
