// Where Redis is: what a URL says.

import type { RedisOptions } from "ioredis";

import { Cluster } from "./cluster.js";
import { TickbridgeError } from "./errors.js";

/** Where Redis is, and how to reach it. */
export interface Where {
  readonly url: string;
  /** Where to ask for the server; none: `url` is it. */
  readonly sentinels?: Sentinels;
  /** The Cluster whose nodes have the streams; none: one server has them all. */
  readonly cluster?: Cluster;
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
  readonly scheme: Scheme;
  readonly login: readonly string[];
}

type Scheme = "redis" | "rediss";
type Parts = Readonly<Record<string, string | undefined>>;

/** Of Sentinels or of a Cluster: `URL` takes one host. */
const SEVERAL =
  /^(?<scheme>rediss?)\+(?<kind>sentinel|cluster):\/\/(?:(?<user>[^:@/]*)(?::(?<password>[^@/]*))?@)?(?<hosts>[^/?#@]+)(?:\/(?<path>[^?#]*))?(?:\?(?<query>[^#]*))?$/;
const REDIS_PORT = 6379;
const SENTINEL_PORT = 26379;
/** `URL` takes no user without a host. */
const UNIX = /^unix:\/\/(?:(?<user>[^:@/]*)(?::(?<password>[^@/]*))?@)?(?<path>\/[^?#]+)(?:\?db=(?<db>\d+))?$/;
const WANTED =
  "expected redis://HOST:PORT/DB, rediss:// (TLS), unix:///PATH, redis+sentinel://HOST:PORT,HOST:PORT/MASTER or redis+cluster://HOST:PORT,HOST:PORT";

/**
 * Look at a URL: `redis://`, `rediss://` (TLS), `unix://`, `redis+sentinel://` or `redis+cluster://` (also with `rediss+`).
 *
 * @throws {TickbridgeError} it is not one.
 */
export function whereIs(url: string, options: RedisOptions = {}): Where {
  const socket = UNIX.exec(url)?.groups;
  if (socket) {
    const { user = "", password = "", path = "", db = "0" } = socket;
    return { url: "", login: loginOf(user, password, options), db, options: { ...options, path }, name: `unix://${path}` };
  }
  const several = SEVERAL.exec(url)?.groups;
  if (several) return several["kind"] === "sentinel" ? bySentinels(several, options) : inCluster(several, options);
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw new TickbridgeError(`the Redis URL is not a URL; ${WANTED}`);
  }
  if (!["redis:", "rediss:"].includes(parsed.protocol)) {
    throw new TickbridgeError(`the Redis URL begins with ${parsed.protocol}//, or is not complete; ${WANTED}`);
  }
  const db = parsed.pathname.slice(1);
  if (!parsed.hostname || (db !== "" && !/^\d+$/.test(db))) {
    throw new TickbridgeError(`the Redis URL has no host, or a database that is not a number; ${WANTED}`);
  }
  const name = `${parsed.protocol}//${parsed.host}${parsed.pathname}`;
  const login = loginOf(parsed.username, parsed.password, options);
  parsed.username = parsed.password = parsed.pathname = "";
  return { url: parsed.href, login, db: db || "0", options, name };
}

/** The same, for one server of those that belong together. */
export function serverOf(where: Where, url: string, login = where.login): Where {
  return { url, login, db: "0", options: where.options, name: where.name };
}

function bySentinels(parts: Parts, options: RedisOptions): Where {
  const { scheme = "", user = "", password = "", hosts = "", path = "", query = "" } = parts;
  const urls = urlsOf(parts, SENTINEL_PORT, "a Sentinel");
  const [master = "", db = "0", ...more] = path.replace(/\/$/, "").split("/");
  if (master === "" || more.length > 0 || !/^\d+$/.test(db)) {
    throw new TickbridgeError(`the Redis URL does not name the master, or has a database that is not a number; ${WANTED}`);
  }
  const asked = new URLSearchParams(query);
  const theirs = loginOf(encode(asked.get("sentinel_username")), encode(asked.get("sentinel_password")), {});
  return {
    url: "",
    sentinels: { urls, master: decoded(master), scheme: scheme as Scheme, login: theirs },
    login: loginOf(user, password, options),
    db,
    options,
    name: `${scheme}+sentinel://${hosts}/${master}`,
  };
}

function inCluster(parts: Parts, options: RedisOptions): Where {
  const { scheme = "", user = "", password = "", hosts = "", path = "" } = parts;
  if (!["", "0"].includes(path.replace(/\/$/, ""))) {
    throw new TickbridgeError("the Redis URL has a database number, but a Cluster has only one database");
  }
  return {
    url: "",
    cluster: new Cluster(scheme, urlsOf(parts, REDIS_PORT, "a node")),
    login: loginOf(user, password, options),
    db: "0",
    options,
    name: `${scheme}+cluster://${hosts}`,
  };
}

function urlsOf({ scheme = "", hosts = "" }: Parts, usual: number, what: string): string[] {
  return hosts.split(",").map((host) => {
    const address = URL.canParse(`http://${host}`) ? new URL(`http://${host}`) : undefined;
    if (!address || address.host === "") throw new TickbridgeError(`the Redis URL has ${what} that is not HOST:PORT`);
    return `${scheme}://${address.hostname}:${address.port || (/:80$/.test(host) ? 80 : usual)}`;
  });
}

function encode(text: string | null): string {
  return encodeURIComponent(text ?? "");
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new TickbridgeError("the Redis URL has a % that is not part of an escape; write it as %25");
  }
}

/** The arguments of `AUTH`, from the URL or else from the options. */
function loginOf(user: string, password: string, options: RedisOptions): string[] {
  const name = decoded(user) || options.username;
  const secret = decoded(password) || options.password || "";
  return name ? [name, secret] : secret ? [secret] : [];
}
