// The two connections of the page. A connection has one subscription per stream, and the band of control entries reads
// with a filter and from earlier than the rest: it has a connection of its own.

import { address, ApiError, getJson, token } from "./api";
import { Feed, type Socket } from "./feed";
import { health } from "./health";
import type { Take, Wish } from "./subscription";
import type { Entries } from "./types";

const RETRY_MS = 2_000;

function connect(): Socket {
  const url = address("ws");
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return new WebSocket(url) as Socket;
}

export const feed = new Feed(connect, () => token.value);
export const controlFeed = new Feed(connect, () => token.value);
const FEEDS = [feed, controlFeed];

export function watchFeeds(): void {
  const restart = (): void => FEEDS.forEach((one) => one.restart());
  token.watch(restart);
  // A laptop that wakes up, another network, a machine that was cut off: the old connection may be dead without ever
  // having been closed.
  addEventListener("online", restart);
  let away = false;
  health.watch(() => {
    const { state } = health.value;
    if (away && state === "ok") restart();
    away = state === "away";
  });
}

type Query = Readonly<Record<string, string>>;

/** Look for the ID to start after, then follow the stream. Returns what ends it. */
function openAfter(
  feed: Feed,
  stream: string,
  query: Query,
  choose: (found: Entries) => string | undefined,
  wish: Omit<Wish, "after">,
  take: Take,
): () => void {
  let close: (() => void) | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let over = false;
  const start = (after: string): void => {
    if (!over) close = feed.open(stream, { ...wish, after }, take);
  };
  const look = async (): Promise<void> => {
    try {
      start(choose(await getJson<Entries>("api/entries", { key: stream, ...query })) ?? "start");
    } catch (error) {
      // What the gateway refuses here, it refuses in the subscription too, and says so where it is seen.
      if (error instanceof ApiError && error.status < 500) start("now");
      else if (!over) timer = setTimeout(() => void look(), RETRY_MS);
    }
  };
  void look();
  return () => {
    over = true;
    clearTimeout(timer);
    close?.();
  };
}

/** Follow a stream from a time on, in milliseconds since the epoch. */
export function openSince(feed: Feed, stream: string, ms: number, wish: Omit<Wish, "after">, take: Take): () => void {
  const before = (found: Entries): string | undefined =>
    found.entries.findLast(({ id }) => Number(id.split("-")[0]) < ms)?.id;
  return openAfter(feed, stream, { at: String(Math.floor(ms)), count: "2" }, before, wish, take);
}

/** Follow a stream from its newest `count` entries on. */
export function openNewest(feed: Feed, stream: string, count: number, take: Take): () => void {
  const before = ({ entries, first }: Entries): string | undefined =>
    entries[0] && entries[0].id !== first ? entries[0].id : undefined;
  return openAfter(feed, stream, { count: String(count) }, before, {}, take);
}
