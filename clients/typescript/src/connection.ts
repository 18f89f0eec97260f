// Connections to Redis. Reconnecting is ours, not ioredis': a command is repeated only where that is safe, and the first
// failure of a client that never reached its server is an error, not an endless wait.

import { Redis, type RedisOptions } from "ioredis";

import { serverUrl } from "./addresses.js";
import type { Cluster } from "./cluster.js";
import { TickbridgeError } from "./errors.js";
import { serverOf, type Sentinels, type Where } from "./where.js";

/** Milliseconds beyond a blocking read until a silent server counts as gone. */
const GRACE_MS = 5_000;
/** How often Sentinels are asked whether the master is another server by now. */
const ASK_EVERY_MS = 1_000;
const FIRST_WAIT_MS = 50;
const LONGEST_WAIT_MS = 2_000;
/** How often a command is sent on to another node before the Cluster counts as out of order. */
const MOST_REDIRECTIONS = 5;

/** Redis refuses a command. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
}

/**
 * One connection: to the only server, to the master, or to the node of a Cluster that has a slot. After any failure it is
 * closed, and the next call opens a new one.
 */
export class Connection {
  readonly #where: Where;
  readonly #slot: number;
  readonly #blockMs: number;
  readonly #silenceMs: number;
  readonly #waiting = new Set<(error: Error) => void>();
  #client: Redis | undefined;
  /** `#client`, once it is connected. */
  #connected: Promise<Redis> | undefined;
  /** The URL of the server that `#client` is connected to. */
  #server = "";
  /** Where the slot has moved, as the node said that had it before. */
  #moved: string | undefined;
  /** Connections to servers that are asked on the way. */
  readonly #others = new Set<Connection>();
  /** When the Sentinels were last asked for the master; `undefined` while they are. */
  #asked: number | undefined = 0;
  /** How often it was closed: what was begun before is not continued. */
  #closed = 0;

  /** `blockMs`: for how long a command may block at most; `slot`: that of the keys, if it is a Cluster. */
  constructor(where: Where, blockMs: number, slot = 0) {
    this.#where = where;
    this.#slot = slot;
    this.#blockMs = blockMs;
    this.#silenceMs = blockMs + (where.options.connectTimeout ?? GRACE_MS);
  }

  /**
   * Send one command.
   *
   * @throws {RefusedError} Redis refuses it.
   * @throws {Error} Redis is unreachable.
   */
  async call(command: string, ...args: (string | number)[]): Promise<unknown> {
    const { cluster } = this.#where;
    return cluster ? this.#wherever(cluster, command, ...args) : this.#here(command, ...args);
  }

  /** Send a command to the node that has the slot, wherever that is by now. */
  async #wherever(cluster: Cluster, command: string, ...args: (string | number)[]): Promise<unknown> {
    let last = "";
    for (let tries = 0; tries <= MOST_REDIRECTIONS; tries += 1) {
      try {
        return await this.#here(command, ...args);
      } catch (error) {
        const to = error instanceof RefusedError ? cluster.redirection(error.message, this.#server) : undefined;
        if (!to) throw error;
        last = (error as Error).message;
        if (!to.ask) {
          this.close();
          this.#moved = to.url;
          continue;
        }
        try {
          return await this.#asking(to.url, command, ...args);
        } catch (refused) {
          // The slot has moved meanwhile, there or back again.
          if (!(refused instanceof RefusedError && cluster.redirection(refused.message, to.url))) throw refused;
        }
      }
    }
    throw new Error(`the nodes of the Cluster do not agree who has slot ${this.#slot} (${last})`);
  }

  /** Send a command to the node that the slot is moving to. */
  async #asking(url: string, command: string, ...args: (string | number)[]): Promise<unknown> {
    return this.#elsewhere(url, this.#where.login, this.#blockMs, async (node) => {
      await node.call("ASKING");
      return node.call(command, ...args);
    });
  }

  async #here(command: string, ...args: (string | number)[]): Promise<unknown> {
    if (!this.#connected) {
      const connecting = this.#connect();
      connecting.catch(() => {
        if (this.#connected === connecting) this.#forget();
      });
      this.#connected = connecting;
    }
    const client = await this.#connected;
    this.#followMaster();
    return this.#send(client, command, ...args);
  }

  /**
   * Have the Sentinels asked, once a second and beside the commands; if they name another master, close the connection.
   * After a planned failover the old one goes on for some ten seconds, until it is demoted.
   */
  #followMaster(): void {
    const { sentinels } = this.#where;
    if (!sentinels || this.#asked === undefined || performance.now() - this.#asked < ASK_EVERY_MS) return;
    const closed = this.#closed;
    this.#asked = undefined;
    this.#master(sentinels, closed)
      .then((url) => {
        if (this.#closed === closed && this.#client && url !== this.#server) this.close();
      })
      .catch(() => undefined) // the master may be there, even if no Sentinel is
      .finally(() => {
        this.#asked = performance.now();
      });
  }

  async #send(client: Redis, command: string, ...args: (string | number)[]): Promise<unknown> {
    let fail: (error: Error) => void = () => undefined;
    const failed = new Promise<never>((_, reject) => {
      fail = reject;
    });
    const timer = setTimeout(() => fail(new Error("no answer in time")), this.#silenceMs);
    this.#waiting.add(fail);
    try {
      return await Promise.race([client.call(command, ...args), failed]);
    } catch (error) {
      if (isReplyError(error)) {
        const refused = new RefusedError(error.message);
        if (isPassing(refused)) this.close();
        throw refused;
      }
      this.close();
      throw error;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(fail);
    }
  }

  /** Close the socket. Commands in progress fail. */
  close(): void {
    this.#closed += 1;
    const client = this.#client;
    this.#forget();
    if (client) end(client);
    for (const other of this.#others) other.close();
    for (const fail of this.#waiting) fail(new Error("the connection was closed"));
  }

  #forget(): void {
    this.#client = undefined;
    this.#connected = undefined;
  }

  async #connect(): Promise<Redis> {
    const { login, db } = this.#where;
    const closed = this.#closed;
    const url = await this.#find(closed);
    const client = await this.#open(url, login, db, closed);
    this.#server = url;
    this.#asked = this.#asked === undefined ? undefined : performance.now();
    return client;
  }

  /** The URL of the server. */
  async #find(closed: number): Promise<string> {
    const { sentinels, cluster, url, login } = this.#where;
    if (sentinels) return this.#master(sentinels, closed);
    if (!cluster) return url;
    const moved = this.#moved;
    this.#moved = undefined; // if it does not answer, the nodes are asked next time
    return moved ?? cluster.owner(this.#slot, (node, ...command) => this.#askOnce(node, login, closed, ...command));
  }

  /** The URL of the server that one of the Sentinels calls the master. */
  async #master({ urls, master, scheme, login }: Sentinels, closed: number): Promise<string> {
    let last = new Error(`none of the Sentinels knows a master ${master}`);
    for (const url of urls) {
      try {
        const found = await this.#askOnce(url, login, closed, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", master);
        if (Array.isArray(found) && found.length === 2) return serverUrl(scheme, String(found[0]), String(found[1]));
      } catch (error) {
        last = error as Error;
      }
    }
    // Whatever a Sentinel said, another one may be asked later.
    throw new Error(`no Sentinel names the master: ${last.message}`);
  }

  /** The answer of another server to one command. */
  async #askOnce(url: string, login: readonly string[], closed: number, command: string, ...args: string[]): Promise<unknown> {
    if (this.#closed !== closed) throw new Error("the connection was closed");
    return this.#elsewhere(url, login, 0, (server) => server.call(command, ...args));
  }

  /** Use a connection to another server, which `close` closes, too. */
  async #elsewhere<T>(url: string, login: readonly string[], blockMs: number, use: (server: Connection) => Promise<T>): Promise<T> {
    const other = new Connection(serverOf(this.#where, url, login), blockMs);
    this.#others.add(other);
    try {
      return await use(other);
    } finally {
      this.#others.delete(other);
      other.close();
    }
  }

  async #open(url: string, login: readonly string[], db: string, closed: number): Promise<Redis> {
    if (this.#closed !== closed) throw new Error("the connection was closed");
    // Reads may block for longer than other commands, and we log in.
    const { commandTimeout: _, username: __, password: ___, ...wanted } = this.#where.options;
    const options: RedisOptions = {
      connectTimeout: GRACE_MS,
      ...wanted,
      db: 0,
      lazyConnect: true,
      retryStrategy: () => null,
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
      enableOfflineQueue: true,
      enableReadyCheck: false, // it asks for INFO, which a reader has no right to
      disableClientInfo: true, // the same
      keyPrefix: "",
    };
    const client = url ? new Redis(url, options) : new Redis(options);
    let cause: Error | undefined;
    client.on("error", (error: Error) => {
      cause = error;
    });
    // A server closes idle connections: the next call opens a new one, which is no outage.
    client.on("end", () => {
      if (this.#client === client) this.#forget();
    });
    this.#client = client;
    try {
      await client.connect();
      if (login.length > 0) await this.#send(client, "AUTH", ...login);
      if (db !== "0") await this.#send(client, "SELECT", db);
    } catch (error) {
      if (this.#client === client) this.#client = undefined;
      end(client);
      if (error instanceof RefusedError) throw error;
      const why = cause ?? (error as Error);
      throw isReplyError(why) ? new RefusedError(why.message) : why;
    }
    return client;
  }
}

/** `disconnect` alone waits for the server to close its side, too. */
function end(client: Redis): void {
  client.disconnect();
  (client.stream as Redis["stream"] | undefined)?.destroy();
}

function isReplyError(error: unknown): error is Error {
  return error instanceof Error && error.name === "ReplyError";
}

const AWAY = ["LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "UNBLOCKED", "BUSY ", "OOM ", "MISCONF", "NOREPLICAS"];
const OF_A_KEY = ["WRONGTYPE", "NOPERM"];

/** Whether waiting may help: Redis is unreachable, loading or failing over. */
export function isPassing(error: unknown): boolean {
  return !(error instanceof RefusedError) || AWAY.some((word) => error.message.startsWith(word));
}

/** Whether Redis refuses this key: it holds something else, or this user may not read it. */
export function refusesKey(error: unknown): error is RefusedError {
  return error instanceof RefusedError && OF_A_KEY.some((word) => error.message.startsWith(word));
}

/** Whether the key holds something else. */
export function isWrongType(error: unknown): boolean {
  return error instanceof RefusedError && error.message.startsWith("WRONGTYPE");
}

/** Whether there is no such key (`XINFO`; other commands take a missing key for an empty one). */
export function isMissing(error: unknown): boolean {
  return error instanceof RefusedError && /no such key/i.test(error.message);
}

/** An error in words, with what to do about it. */
export function explain(error: unknown, where: Where): TickbridgeError {
  const { code = "", message } = error as Error & { code?: string };
  const at = `Redis at ${where.name}`;
  const words = (message || code).replace(/\s+/g, " ");
  if (error instanceof RefusedError) {
    if (/^(NOAUTH|WRONGPASS|ERR (invalid password|AUTH|Client sent AUTH))/.test(words)) {
      return new TickbridgeError(`${at}: wrong user or password, or a password is required (${words})`);
    }
    if (/^(MOVED|CROSSSLOT) /.test(words)) {
      return new TickbridgeError(`${at} is one node of a Cluster; use redis+cluster:// instead of redis:// (${words})`);
    }
    if (/cluster support disabled/.test(words)) {
      return new TickbridgeError(`${at} is not a Cluster; use redis:// instead of redis+cluster:// (${words})`);
    }
    if (words.startsWith("NOPERM")) {
      return new TickbridgeError(`${at}: this user lacks a permission: ${words}; \`tickbridge acl\` prints the required rights`);
    }
    return new TickbridgeError(`${at}: ${words}`);
  }
  const why =
    code === "ECONNREFUSED"
      ? "the connection was refused; is the server running, and is the port right?"
      : code === "ENOENT"
        ? "there is no such socket; is the server running?"
        : code === "ENOTFOUND" || code === "EAI_AGAIN"
          ? "there is no such host"
          : code.includes("CERT") || code.includes("SIGNATURE")
            ? `its TLS certificate is not trusted; pass the CA as {redis: {tls: {ca}}} (${words})`
            : words;
  return new TickbridgeError(`${at} is unreachable: ${why}`);
}

/** Called with the error at the start of an outage, and with `undefined` at its end. */
export type OnOutage = (error: TickbridgeError | undefined) => void;

/** Repeats calls until Redis answers, once it has answered at all. */
export class Outages {
  readonly #where: Where;
  readonly #signal: AbortSignal;
  readonly #report: OnOutage;
  #answered = false;
  #away = false;
  /** How many calls wait: in a Cluster one for each slot of an unreachable node. */
  #waiting = 0;

  constructor(where: Where, signal: AbortSignal, report: OnOutage) {
    this.#where = where;
    this.#signal = signal;
    this.#report = report;
  }

  /**
   * The result of a call that may be repeated, once Redis answers.
   *
   * @throws {TickbridgeError} Redis has never answered, or refuses this client.
   * @throws {RefusedError} it refuses a key, or there is none.
   */
  async outlive<T>(call: () => Promise<T>): Promise<T> {
    let wait = 0;
    let waits = false;
    try {
      for (;;) {
        try {
          const result = await call();
          this.#answered = true;
          if (this.#away && this.#waiting === (waits ? 1 : 0)) {
            this.#away = false;
            this.#report(undefined);
          }
          return result;
        } catch (error) {
          if (this.#signal.aborted || error instanceof TickbridgeError) throw error;
          if (refusesKey(error) || isMissing(error)) {
            this.#answered = true;
            throw error;
          }
          if (!isPassing(error) || !this.#answered) throw explain(error, this.#where);
          if (!waits) {
            waits = true;
            this.#waiting += 1;
          }
          if (!this.#away) {
            this.#away = true;
            this.#report(explain(error, this.#where));
          }
        }
        await sleep(wait * (0.5 + Math.random() / 2), this.#signal);
        this.#signal.throwIfAborted();
        wait = wait === 0 ? FIRST_WAIT_MS : Math.min(wait * 2, LONGEST_WAIT_MS);
      }
    } finally {
      this.#waiting -= waits ? 1 : 0;
    }
  }
}

/** Wait for some milliseconds, or until the signal is aborted. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
