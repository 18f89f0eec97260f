import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { BookKeeper } from "../src/model/book";
import type { Item } from "../src/model/items";
import { Feed, type Socket } from "../src/net/feed";

const TRADES = "md:{limitlex:BTC-EUR}:trades";
const BOOK = "md:{limitlex:BTC-EUR}:book";

class FakeSocket implements Socket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  sent: Record<string, unknown>[] = [];
  closed = false;
  readyState = 1;
  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }
  close(): void {
    this.closed = true;
  }
  says(...rows: Record<string, string>[]): void {
    this.onmessage?.({ data: JSON.stringify(rows) });
  }
}

const trade = (id: string): Record<string, string> => ({
  stream: TRADES,
  id,
  type: "trade",
  ts: "",
  recv: "1",
  event_id: "77",
  side: "buy",
  price: "10",
  size: "1",
});
const book = (id: string, type: string, bids: string): Record<string, string> => ({
  stream: BOOK,
  id,
  type,
  ts: "",
  recv: "1",
  xseq: "",
  bids,
  asks: "",
});

let sockets: FakeSocket[];
let token: string;
let feed: Feed;
const socket = (): FakeSocket => sockets[sockets.length - 1]!;

beforeEach(() => {
  vi.useFakeTimers();
  sockets = [];
  token = "";
  feed = new Feed(
    () => {
      sockets.push(new FakeSocket());
      return socket();
    },
    () => token,
  );
});
afterEach(() => {
  vi.useRealTimers();
});

function follow(stream: string, after: string, types?: string[]): { items: Item[]; close: () => void } {
  const items: Item[] = [];
  return { items, close: feed.open(stream, { after, ...(types && { types }) }, (item) => items.push(item)) };
}

describe("the connection", () => {
  test("sends the token first, then the subscriptions", () => {
    token = "secret";
    follow(TRADES, "now");
    follow(BOOK, "snapshot");
    expect(socket().sent).toEqual([]);
    socket().onopen?.();
    expect(socket().sent).toEqual([
      { op: "token", token: "secret" },
      { op: "subscribe", stream: TRADES, after: "now" },
      { op: "subscribe", stream: BOOK, after: "snapshot" },
    ]);
  });

  test("gives a trade its own id back", () => {
    const { items } = follow(TRADES, "now");
    socket().onopen?.();
    socket().says({ stream: TRADES, notice: "subscribed", id: "5-1" }, trade("5-2"));
    expect(items).toEqual([
      {
        kind: "entry",
        id: "5-2",
        fields: { type: "trade", ts: "", recv: "1", id: "77", side: "buy", price: "10", size: "1" },
      },
    ]);
  });

  test("resumes after the last entry when it was lost, and waits longer each time", () => {
    const { items } = follow(TRADES, "start");
    socket().onopen?.();
    socket().says(trade("5-1"), trade("5-2"));
    socket().onclose?.();
    expect(items.map(({ kind }) => kind)).toEqual(["entry", "entry", "away"]);
    expect(feed.link.value.state).toBe("away");
    vi.advanceTimersByTime(800);
    expect(sockets).toHaveLength(2);
    socket().onclose?.();
    vi.advanceTimersByTime(400);
    expect(sockets).toHaveLength(2);
    vi.advanceTimersByTime(1200);
    expect(sockets).toHaveLength(3);
    socket().onopen?.();
    expect(socket().sent).toEqual([{ op: "subscribe", stream: TRADES, after: "5-2" }]);
    socket().says(trade("9-3"));
    expect(items.slice(3).map(({ kind }) => kind)).toEqual(["entry"]);
  });

  test("is closed once it is open, if it is not needed any more before", () => {
    const { close } = follow(TRADES, "start");
    socket().readyState = 0;
    close();
    expect(socket().closed).toBe(false);
    socket().onopen?.();
    expect(socket().closed).toBe(true);
    expect(socket().sent).toEqual([]);
    expect(feed.link.value.state).toBe("idle");
  });

  test("says what is missing after it has resumed, even if the gateway does not", () => {
    const { items } = follow(TRADES, "start");
    socket().onopen?.();
    socket().says(trade("5-1"));
    socket().onclose?.();
    vi.advanceTimersByTime(800);
    socket().onopen?.();
    socket().says(trade("5-4"));
    expect(items[2]).toEqual({ kind: "hole", count: 2, before: "5-4" });
  });

  test("counts a hole once if the gateway reports it", () => {
    const { items } = follow(TRADES, "start");
    socket().onopen?.();
    socket().says(trade("5-1"), { stream: TRADES, notice: "hole", count: "2", before: "5-4" }, trade("5-4"), trade("5-5"));
    expect(items.map(({ kind }) => kind)).toEqual(["entry", "hole", "entry", "entry"]);
  });

  test("looks for no holes where a filter leaves entries out", () => {
    const { items } = follow(TRADES, "start", ["control"]);
    socket().onopen?.();
    socket().says(trade("5-1"), trade("5-9"));
    expect(items.map(({ kind }) => kind)).toEqual(["entry", "entry"]);
  });

  test("begins a book again with a snapshot when it was lost", () => {
    const keeper = new BookKeeper();
    feed.open(BOOK, { after: "snapshot" }, (item) => keeper.take(item));
    socket().onopen?.();
    socket().says(book("5-1", "snapshot", "10:1"), book("5-2", "delta", "9:1"));
    expect([keeper.valid, keeper.bids.levels.length, keeper.id]).toEqual([true, 2, "5-2"]);
    socket().onclose?.();
    expect([keeper.valid, keeper.why]).toEqual([false, "away"]);
    vi.advanceTimersByTime(800);
    socket().onopen?.();
    expect(socket().sent).toEqual([{ op: "subscribe", stream: BOOK, after: "snapshot" }]);
    socket().says(book("5-9", "snapshot", "8:1"), book("5-10", "delta", "7:1"));
    expect([keeper.valid, keeper.bids.levels.length]).toEqual([true, 2]);
    socket().says(book("5-12", "delta", "6:1"));
    expect([keeper.valid, keeper.why]).toEqual([false, "hole"]);
  });

  test("keeps a book right over a conflation", () => {
    const keeper = new BookKeeper();
    feed.open(BOOK, { after: "snapshot" }, (item) => keeper.take(item));
    socket().onopen?.();
    socket().says(book("5-1", "snapshot", "10:1"));
    socket().says({ stream: BOOK, notice: "conflated", count: "30", before: "5-40" });
    expect(keeper.valid).toBe(false);
    socket().says(book("5-39", "snapshot", "8:1"), book("5-40", "delta", "7:1"), book("5-41", "delta", "7:0"));
    expect([keeper.valid, keeper.bids.levels.map(({ price }) => price)]).toEqual([true, ["8"]]);
  });

  test("shows a book as invalid that the gateway calls so", () => {
    const keeper = new BookKeeper();
    feed.open(BOOK, { after: "snapshot" }, (item) => keeper.take(item));
    socket().onopen?.();
    socket().says({ stream: BOOK, notice: "invalid", id: "5-1", message: "gap: a frame could not be understood" });
    expect([keeper.valid, keeper.reason]).toEqual([false, "gap: a frame could not be understood"]);
    socket().says(book("5-2", "snapshot", "8:1"));
    expect(keeper.valid).toBe(true);
  });

  test("says that Redis does not answer, and that it does again", () => {
    follow(TRADES, "now");
    socket().onopen?.();
    socket().says({ stream: "", notice: "away", message: "connection refused" });
    expect(feed.link.value).toEqual({ state: "open", redis: "connection refused" });
    socket().says({ stream: "", notice: "back", message: "" });
    expect(feed.link.value).toEqual({ state: "open", redis: "" });
  });

  test("is opened again after half a message", () => {
    follow(TRADES, "now");
    socket().onopen?.();
    socket().onmessage?.({ data: '[{"stream":' });
    expect([sockets[0]!.closed, sockets.length]).toEqual([true, 2]);
  });

  test("ends with its last subscription", () => {
    const one = follow(TRADES, "now");
    const two = follow(BOOK, "snapshot");
    socket().onopen?.();
    one.close();
    expect(socket().sent.at(-1)).toEqual({ op: "unsubscribe", stream: TRADES });
    expect(socket().closed).toBe(false);
    two.close();
    expect([socket().closed, feed.link.value.state]).toEqual([true, "idle"]);
  });

  test("passes on that a stream cannot be read", () => {
    const { items } = follow(TRADES, "now");
    socket().onopen?.();
    socket().says({ stream: TRADES, notice: "error", message: "the token may not read this" });
    expect(items).toEqual([{ kind: "unreadable", error: "the token may not read this" }]);
  });
});
