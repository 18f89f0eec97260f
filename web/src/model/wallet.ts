// An account's state out of its streams: balances, open orders, positions, fills.

import type { Fields, Item } from "./items";

export interface Row {
  readonly id: string;
  readonly fields: Fields;
  /** Nothing was heard of it since the stream was last interrupted. */
  readonly unconfirmed: boolean;
}

const OPEN = new Set(["open", "partially_filled"]);
const FILLS = 500;
const CLOSED = 200;

export class Wallet {
  readonly balances = new Map<string, Row>();
  readonly orders = new Map<string, Row>();
  readonly positions = new Map<string, Row>();
  /** Newest first. */
  readonly fills: Row[] = [];
  /** Orders that are no longer open, newest first. */
  readonly closed: Row[] = [];
  /** Per channel: the last control event, or what is missing. */
  readonly states = new Map<string, string>();

  take(channel: string, item: Item): void {
    switch (item.kind) {
      case "entry":
        if (item.fields.type === "control") this.control(channel, item.fields);
        else this.event(item.id, item.fields);
        break;
      case "unknown":
        if (item.control) this.interrupted(channel, item.error);
        break;
      case "hole":
      case "trimmed":
        this.interrupted(channel, `${item.kind}: ${item.count} entries`);
        break;
      case "reset":
        this.interrupted(channel, "reset: the stream was created again");
        break;
      case "undecodable":
        this.interrupted(channel, `undecodable: ${item.error}`);
        break;
      case "skipped":
        this.interrupted(channel, `skipped: ${item.count} entries`);
        break;
      case "unreadable":
      case "away":
        this.interrupted(channel, item.error);
        break;
    }
  }

  private event(id: string, fields: Fields): void {
    const row = { id, fields, unconfirmed: false };
    switch (fields.type) {
      case "balance":
        this.balances.set(fields.currency ?? "", row);
        break;
      case "position": {
        const name = `${fields.pair} ${fields.leg ?? ""}`;
        if (fields.side) this.positions.set(name, row);
        else this.positions.delete(name);
        break;
      }
      case "order": {
        const name = `${fields.pair} ${fields.order_id || `client:${fields.client_id}`}`;
        if (OPEN.has(fields.status ?? "")) this.orders.set(name, row);
        else {
          this.orders.delete(name);
          this.closed.unshift(row);
          this.closed.splice(CLOSED);
        }
        break;
      }
      case "fill":
        this.fills.unshift(row);
        this.fills.splice(FILLS);
        break;
    }
  }

  private control(channel: string, fields: Fields): void {
    const words = fields.reason ? `${fields.event}: ${fields.reason}` : (fields.event ?? "");
    if (fields.event === "live") this.states.set(channel, "live");
    else this.interrupted(channel, words);
  }

  /**
   * What is missing may have been the last word on an order, and not every exchange reports after an outage which are
   * closed. Other states are not written again if unchanged.
   */
  private interrupted(channel: string, words: string): void {
    this.states.set(channel, words);
    if (channel !== "orders") return;
    for (const [name, row] of this.orders) this.orders.set(name, { ...row, unconfirmed: true });
  }
}
