import { CHANNELS, KEY_TEMPLATES, PUBLIC_CHANNELS, type Channel } from "./generated.js";

/** The parts of a stream's key. */
export interface StreamKey {
  readonly exchange: string;
  /** A pair, or an account, with its sub-account if any (`main/sub`). */
  readonly subject: string;
  readonly channel: Channel;
  /** The length of candles (`1m`); other channels have none. */
  readonly interval?: string;
}

const STREAM = /^(md|acct):\{([^:]+):(.+?)\}:([^:]+)(?::([1-9][0-9]{0,8}[smhd]))?$/s;

/** Builds and parses the Redis keys of a namespace (`""`: none). */
export class Keys {
  readonly namespace: string;
  readonly #prefix: string;

  constructor(namespace = "") {
    this.namespace = namespace;
    this.#prefix = namespace ? `${namespace}:` : "";
  }

  /** `md:{coinbase:BTC-USD}:trades` or `acct:{limitlex:main}:orders`. */
  stream(exchange: string, subject: string, channel: Channel): string {
    const template = isPublic(channel) ? KEY_TEMPLATES.public : KEY_TEMPLATES.private;
    return this.#fill(template, { exchange, subject, channel });
  }

  /** The stream of a pair's candles: `md:{coinbase:BTC-USD}:candles:1m`. */
  candles(exchange: string, pair: string, interval: string): string {
    return this.#fill(KEY_TEMPLATES.candles, { exchange, subject: pair, interval });
  }

  /** The hash with the newest full book of a pair, for late joiners. */
  snapshot(exchange: string, pair: string): string {
    return this.#fill(KEY_TEMPLATES.snapshot, { exchange, subject: pair });
  }

  /** The hash with what the exchange lists of a pair: tick size, lot size, status and so on. */
  instrument(exchange: string, pair: string): string {
    return this.#fill(KEY_TEMPLATES.instrument, { exchange, subject: pair });
  }

  /** The hash in which `tickbridge wallets` keeps an account's state. */
  wallet(exchange: string, account: string): string {
    return this.#fill(KEY_TEMPLATES.wallet, { exchange, subject: account });
  }

  /** The hash that lists the public streams. */
  catalog(): string {
    return this.#fill(KEY_TEMPLATES.catalog, {});
  }

  /** The hash that lists the streams of accounts. */
  accountsCatalog(): string {
    return this.#fill(KEY_TEMPLATES.accountsCatalog, {});
  }

  /** The hash in which a reader saves its position under a name. */
  cursor(name: string): string {
    return this.#fill(KEY_TEMPLATES.cursor, { name });
  }

  /** The parts of a data stream's key; `undefined` for any other key. */
  parse(key: string): StreamKey | undefined {
    if (!key.startsWith(this.#prefix)) return undefined;
    const found = STREAM.exec(key.slice(this.#prefix.length));
    if (!found) return undefined;
    const [, kind, exchange = "", subject = "", name, interval] = found;
    const channel = CHANNELS.find((one) => one === name);
    if (channel === undefined || isPublic(channel) !== (kind === "md")) return undefined;
    if ((channel === "candles") !== (interval !== undefined)) return undefined;
    return interval === undefined ? { exchange, subject, channel } : { exchange, subject, channel, interval };
  }

  #fill(template: string, parts: Readonly<Record<string, string>>): string {
    return this.#prefix + template.replace(/<(\w+)>/g, (_, name: string) => parts[name] ?? "");
  }
}

/** Whether streams of this channel are market data, not an account's. */
export function isPublic(channel: Channel): boolean {
  return (PUBLIC_CHANNELS as readonly Channel[]).includes(channel);
}
