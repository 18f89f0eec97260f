// The keys of streams: `md:{<exchange>:<pair>}:<channel>`, `acct:{<exchange>:<account>}:<channel>`.

export interface StreamName {
  readonly key: string;
  readonly namespace: string;
  readonly public: boolean;
  readonly exchange: string;
  /** The pair, or the account. */
  readonly subject: string;
  readonly channel: string;
}

const SHAPE = /^(?:(.+):)?(md|acct):\{([^:{}]+):([^{}]+)\}:([a-z0-9]+)$/;

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
  };
}

/** The key of a pair's stream. */
export function streamKey(exchange: string, pair: string, channel: string, namespace = ""): string {
  return `${namespace ? `${namespace}:` : ""}md:{${exchange}:${pair}}:${channel}`;
}
