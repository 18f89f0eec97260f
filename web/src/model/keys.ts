// The keys of streams: `md:{<exchange>:<pair>}:<channel>`, `acct:{<exchange>:<account>}:<channel>`; of candles, an interval follows.

export interface StreamName {
  readonly key: string;
  readonly namespace: string;
  readonly public: boolean;
  readonly exchange: string;
  /** The pair, or the account. */
  readonly subject: string;
  readonly channel: string;
  /** The length of candles (`1m`); empty for other channels. */
  readonly interval: string;
}

const SHAPE = /^(?:(.+):)?(md|acct):\{([^:{}]+):([^{}]+)\}:([a-z0-9]+)(?::([1-9][0-9]{0,8}[smhd]))?$/;

/** The parts of a stream's key, or `null` if it is no stream of Tickbridge. */
export function parseKey(key: string): StreamName | null {
  const match = SHAPE.exec(key);
  if (!match) return null;
  return {
    key,
    namespace: match[1] ?? "",
    public: match[2] === "md",
    exchange: match[3]!,
    subject: match[4]!,
    channel: match[5]!,
    interval: match[6] ?? "",
  };
}

/** The key of a pair's stream. */
export function streamKey(exchange: string, pair: string, channel: string, namespace = ""): string {
  return `${namespace ? `${namespace}:` : ""}md:{${exchange}:${pair}}:${channel}`;
}
