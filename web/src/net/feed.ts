// The WebSocket to the gateway: any number of streams over one connection, which comes back by itself.

import { Store } from "../ui/store";
import { Subscription, type Row, type Take, type Wish } from "./subscription";

/** The part of a WebSocket that is used here. */
export interface Socket {
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: (() => void) | null;
  readonly readyState: number;
  send(text: string): void;
  close(): void;
}

export interface Link {
  readonly state: "idle" | "connecting" | "open" | "away";
  /** Why Redis does not answer the gateway; empty if it does. */
  readonly redis: string;
}

/** `WebSocket.CONNECTING`. */
const CONNECTING = 0;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
const IDLE: Link = { state: "idle", redis: "" };

export class Feed {
  readonly link = new Store<Link>(IDLE);
  private readonly subscriptions = new Map<string, Subscription>();
  private socket: Socket | null = null;
  private wait = FIRST_WAIT_MS;
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** `connect` opens a socket, for each attempt another one; `token` is sent first, unless it is empty. */
  constructor(
    private readonly connect: () => Socket,
    private readonly token: () => string,
  ) {}

  /** Follow a stream; returns what ends it. A stream has one follower. */
  open(stream: string, wish: Wish, take: Take): () => void {
    const subscription = new Subscription(stream, wish, take);
    this.subscriptions.set(stream, subscription);
    if (this.link.value.state === "idle") this.start();
    else if (this.link.value.state === "open") this.send(subscription.request());
    return () => {
      if (this.subscriptions.get(stream) !== subscription) return;
      this.subscriptions.delete(stream);
      if (this.link.value.state === "open") this.send({ op: "unsubscribe", stream });
      if (this.subscriptions.size === 0) this.end();
    };
  }

  /** Open the connection again at once: it has gone silent, or the token is another one. */
  restart(): void {
    if (this.link.value.state === "idle") return;
    this.lost();
    this.wait = FIRST_WAIT_MS;
    this.start();
  }

  private start(): void {
    clearTimeout(this.timer);
    const socket = this.connect();
    this.socket = socket;
    if (this.link.value.state === "idle") this.link.set({ state: "connecting", redis: "" });
    socket.onopen = () => {
      this.wait = FIRST_WAIT_MS;
      this.link.set({ state: "open", redis: "" });
      const token = this.token();
      if (token) this.send({ op: "token", token });
      for (const subscription of this.subscriptions.values()) this.send(subscription.request());
    };
    socket.onmessage = ({ data }) => this.receive(String(data));
    socket.onclose = () => {
      this.lost();
      // Not all browsers at the same moment.
      this.timer = setTimeout(() => this.start(), this.wait * (0.5 + Math.random()));
      this.wait = Math.min(this.wait * 2, LONGEST_WAIT_MS);
    };
  }

  private lost(): void {
    this.release();
    if (this.link.value.state === "away") return;
    this.link.set({ state: "away", redis: "" });
    for (const subscription of this.subscriptions.values()) subscription.away("no connection to the gateway");
  }

  private end(): void {
    this.release();
    this.link.set(IDLE);
  }

  private release(): void {
    clearTimeout(this.timer);
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    // Closed before it is open, a socket is an error on the browser's console.
    socket.onopen = socket.readyState === CONNECTING ? () => socket.close() : null;
    if (!socket.onopen) socket.close();
  }

  private receive(text: string): void {
    let rows: Row[];
    try {
      rows = JSON.parse(text) as Row[];
    } catch {
      this.restart(); // what follows half a message cannot be trusted either
      return;
    }
    for (const row of rows) {
      if (row.stream) this.subscriptions.get(row.stream)?.receive(row);
      else if (row.notice === "away") this.link.set({ state: "open", redis: row.message || "Redis does not answer" });
      else if (row.notice === "back") this.link.set({ state: "open", redis: "" });
    }
  }

  private send(message: Record<string, unknown>): void {
    this.socket?.send(JSON.stringify(message));
  }
}
