// What the gateway's HTTP interface answers: docs/reference/web.md. Numbers are text, except in `rate`.

export interface StreamRow {
  readonly key: string;
  readonly exchange: string;
  readonly pair?: string;
  readonly account?: string;
  readonly channel: string;
  readonly connector: string;
  readonly state: string;
  readonly reason: string;
  readonly live: boolean;
  readonly last_id: string;
  readonly seq: string;
  readonly age_ms: string;
  /** Entries per second over the last 60 s, oldest first. */
  readonly rate: readonly number[];
  readonly entries: string;
  readonly oldest_ms: string;
  /** The limits of retention, in entries and seconds; empty if the catalog does not say. */
  readonly max_entries: string;
  readonly max_age: string;
  readonly gaps: string;
  readonly lost: string;
}

export interface Streams {
  readonly now: string;
  readonly since: string;
  readonly streams: readonly StreamRow[];
}

export interface Heartbeat {
  readonly name: string;
  readonly alive: boolean;
  /** What the process shows that stands by, if there is one. */
  readonly standby?: Readonly<Record<string, string>>;
  readonly [field: string]: string | boolean | Readonly<Record<string, string>> | undefined;
}

export interface Connectors {
  readonly now: string;
  readonly connectors: readonly Heartbeat[];
}

export interface Entry {
  readonly id: string;
  readonly fields: Readonly<Record<string, string>>;
  readonly error?: string;
}

export interface Entries {
  readonly key: string;
  readonly entries: readonly Entry[];
  readonly first: string;
  readonly last: string;
}

export interface Rejects {
  readonly exchange: string;
  readonly rejects: readonly Entry[];
}

export interface Info {
  readonly version: string;
  readonly namespace: string;
  readonly tokens: boolean;
  readonly name?: string;
  readonly accounts: readonly string[];
  /** Exchanges that are simulated, and may be disturbed. */
  readonly simulators: readonly string[];
}

export interface Simulator {
  readonly exchange: string;
  /** Why there is nothing else. */
  readonly error?: string;
  readonly pairs?: readonly string[];
  readonly paused?: boolean;
  /** Faults that go on. */
  readonly active?: readonly string[];
  /** Fault → the settings that it takes. */
  readonly faults?: Readonly<Record<string, readonly string[]>>;
}

/** A process of the demo, which restarts it when it dies. */
export interface DemoProcess {
  readonly name: string;
  readonly pid: string;
  readonly running: boolean;
  readonly starts: string;
  readonly ended: string;
}

export interface Simulators {
  readonly simulators: readonly Simulator[];
  readonly processes: readonly DemoProcess[];
  readonly may_act: boolean;
}

/** The best levels of a book: price and size, best first. */
export interface BookLevels {
  readonly bids: readonly (readonly [price: string, size: string])[];
  readonly asks: readonly (readonly [price: string, size: string])[];
}

export interface StreamBook extends BookLevels {
  readonly valid: boolean;
  readonly reason: string;
  readonly id: string;
}
