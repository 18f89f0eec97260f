// Connections to Redis. Reconnecting is ours, not ioredis': a command is repeated only where that is safe, and the first
// failure of a client that never reached its server is an error, not an endless wait.

import { Redis, type RedisOptions } from "ioredis";

import { TickbridgeError } from "./errors.js";

/** Milliseconds beyond a blocking read until a silent server counts as gone. */
const GRACE_MS = 5_000;
const FIRST_WAIT_MS = 50;
const LONGEST_WAIT_MS = 2_000;

/** Where Redis is, and how to reach it. */
export interface Where {
  readonly url: string;
  /** Where to ask for the server; none: `url` is it. */
  readonly sentinels?: Sentinels;
  readonly options: RedisOptions;
  /** User and password, or only a password, or nothing. We log in: ioredis goes on as another user if the server refuses this one. */
  readonly login: readonly string[];
  /** Selected by us, for the same reason. */
  readonly db: string;
  /** The URL without user and password, for messages. */
  readonly name: string;
}

/** The Sentinels, one of which is asked for the address of the master at every connection. */
export interface Sentinels {
  readonly urls: readonly string[];
  readonly master: string;
  readonly scheme: "redis" | "rediss";
  readonly login: readonly string[];
}

const SENTINEL =
  /^(?<scheme>rediss?)\+sentinel:\/\/(?:(?<user>[^:@/]*)(?::(?<password>[^@/]*))?@)?(?<hosts>[^/?#@]+)\/(?<master>[^/?#]+)(?:\/(?<db>\d+))?\/?(?:\?(?<query>[^#]*))?$/;
const SENTINEL_PORT = 26379;
/** `URL` takes no user without a host. */
const UNIX = /^unix:\/\/(?:(?<user>[^:@/]*)(?::(?<password>[^@/]*))?@)?(?<path>\/[^?#]+)(?:\?db=(?<db>\d+))?$/;

/**
 * Look at a URL: `redis://`, `rediss://` (TLS), `unix://`, `redis+sentinel://` or `rediss+sentinel://`.
 *
 * @throws {TickbridgeError} it is not one.
 */
export function whereIs(url: string, options: RedisOptions = {}): Where {
  const wanted = "expected redis://HOST:PORT/DB, rediss:// (TLS), unix:///PATH or redis+sentinel://HOST:PORT,HOST:PORT/MASTER";
  const socket = UNIX.exec(url)?.groups;
  if (socket) {
    const { user = "", password = "", path = "", db = "0" } = socket;
    return { url: "", login: loginOf(user, password, options), db, options: { ...options, path }, name: `unix://${path}` };
  }
  const watched = SENTINEL.exec(url)?.groups;
  if (watched) return bySentinels(watched, options);
  if (/^rediss?\+cluster:/.test(url)) throw new TickbridgeError("this client does not support a Redis Cluster");
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw new TickbridgeError(`the Redis URL is not a URL; ${wanted}`);
  }
  if (!["redis:", "rediss:"].includes(parsed.protocol)) {
    throw new TickbridgeError(`the Redis URL begins with ${parsed.protocol}//, or is not complete; ${wanted}`);
  }
  const db = parsed.pathname.slice(1);
  if (!parsed.hostname || (db !== "" && !/^\d+$/.test(db))) {
    throw new TickbridgeError(`the Redis URL has no host, or a database that is not a number; ${wanted}`);
  }
  const name = `${parsed.protocol}//${parsed.host}${parsed.pathname}`;
  const login = loginOf(parsed.username, parsed.password, options);
  parsed.username = parsed.password = parsed.pathname = "";
  return { url: parsed.href, login, db: db || "0", options, name };
}

function bySentinels(parts: Readonly<Record<string, string | undefined>>, options: RedisOptions): Where {
  const { scheme = "", user = "", password = "", hosts = "", master = "", db = "0", query = "" } = parts;
  const urls = hosts.split(",").map((host) => {
    const address = URL.canParse(`http://${host}`) ? new URL(`http://${host}`) : undefined;
    if (!address || address.host === "") throw new TickbridgeError("the Redis URL has a Sentinel that is not HOST:PORT");
    return `${scheme}://${address.hostname}:${address.port || (/:80$/.test(host) ? 80 : SENTINEL_PORT)}`;
  });
  const asked = new URLSearchParams(query);
  const theirs = loginOf(encode(asked.get("sentinel_username")), encode(asked.get("sentinel_password")), {});
  return {
    url: "",
    sentinels: { urls, master: decodeURIComponent(master), scheme: scheme as "redis" | "rediss", login: theirs },
    login: loginOf(user, password, options),
    db,
    options,
    name: `${scheme}+sentinel://${hosts}/${master}`,
  };
}

function encode(text: string | null): string {
  return encodeURIComponent(text ?? "");
}

/** The arguments of `AUTH`, from the URL or else from the options. */
function loginOf(user: string, password: string, options: RedisOptions): string[] {
  try {
    const name = decodeURIComponent(user) || options.username;
    const secret = decodeURIComponent(password) || options.password || "";
    return name ? [name, secret] : secret ? [secret] : [];
  } catch {
    throw new TickbridgeError("the user or the password in the Redis URL has a % that is not part of an escape; write it as %25");
  }
}

/** Redis refuses a command. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
}

/** One connection; after any failure it is closed, and the next call opens a new one. */
export class Connection {
  readonly #where: Where;
  readonly #silenceMs: number;
  readonly #waiting = new Set<(error: Error) => void>();
  #client: Redis | undefined;
  /** `#client`, once it is connected. */
  #connected: Promise<Redis> | undefined;
  /** How often it was closed: what was begun before is not continued. */
  #closed = 0;

  /** `blockMs`: for how long a command may block at most. */
  constructor(where: Where, blockMs: number) {
    this.#where = where;
    this.#silenceMs = blockMs + (where.options.connectTimeout ?? GRACE_MS);
  }

  /**
   * Send one command.
   *
   * @throws {RefusedError} Redis refuses it.
   * @throws {Error} Redis is unreachable.
   */
  async call(command: string, ...args: (string | number)[]): Promise<unknown> {
    if (!this.#connected) {
      const connecting = this.#connect();
      connecting.catch(() => {
        if (this.#connected === connecting) this.#forget();
      });
      this.#connected = connecting;
    }
    return this.#send(await this.#connected, command, ...args);
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
    for (const fail of this.#waiting) fail(new Error("the connection was closed"));
  }

  #forget(): void {
    this.#client = undefined;
    this.#connected = undefined;
  }

  async #connect(): Promise<Redis> {
    const { sentinels, url, login, db } = this.#where;
    const closed = this.#closed;
    const server = sentinels ? await this.#master(sentinels, closed) : url;
    return this.#open(server, login, db, closed);
  }

  /** The URL of the server that one of the Sentinels calls the master. */
  async #master({ urls, master, scheme, login }: Sentinels, closed: number): Promise<string> {
    let last = new Error(`none of the Sentinels knows a master ${master}`);
    for (const url of urls) {
      try {
        const client = await this.#open(url, login, "0", closed);
        const found = await this.#send(client, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", master).finally(() => {
          if (this.#client === client) this.#client = undefined;
          end(client);
        });
        if (Array.isArray(found) && found.length === 2) {
          const [host, port] = found.map(String) as [string, string];
          return `${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}`;
        }
      } catch (error) {
        last = error as Error;
      }
      if (this.#closed !== closed) break;
    }
    // Whatever a Sentinel said, another one may be asked later.
    throw new Error(`no Sentinel names the master: ${last.message}`);
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
    if (words.startsWith("MOVED")) {
      return new TickbridgeError(`${at} is one node of a Cluster, which this client does not support (${words})`);
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
    let away = false;
    for (;;) {
      try {
        const result = await call();
        this.#answered = true;
        if (away) this.#report(undefined);
        return result;
      } catch (error) {
        if (this.#signal.aborted || error instanceof TickbridgeError) throw error;
        if (refusesKey(error) || isMissing(error)) {
          this.#answered = true;
          throw error;
        }
        if (!isPassing(error) || !this.#answered) throw explain(error, this.#where);
        if (!away) {
          away = true;
          this.#report(explain(error, this.#where));
        }
      }
      await sleep(wait * (0.5 + Math.random() / 2), this.#signal);
      this.#signal.throwIfAborted();
      wait = wait === 0 ? FIRST_WAIT_MS : Math.min(wait * 2, LONGEST_WAIT_MS);
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
