// A Redis Cluster: which node has which hash slot.

import { hostOf, serverUrl } from "./addresses.js";

const SLOTS = 16_384;

/** Asks a server for something; rejects if it does not answer or refuses. */
export type AskServer = (url: string, command: string, ...args: string[]) => Promise<unknown>;

/** The nodes of a Cluster that are known. */
export class Cluster {
  readonly #scheme: string;
  readonly #named: readonly string[];
  /** The one to ask next is the first. */
  #nodes: string[];

  /** `named`: the URLs of nodes; the others are learned from these. */
  constructor(scheme: string, named: readonly string[]) {
    this.#scheme = scheme;
    this.#named = named;
    this.#nodes = [...named];
  }

  /**
   * The URL of the master that has a slot. Each time another node is asked first: one that is cut off from the others
   * goes on naming a master that no longer is one.
   *
   * @throws the error of a node, if none answers.
   */
  async owner(slot: number, ask: AskServer): Promise<string> {
    let failure: Error | undefined;
    for (const url of [...this.#nodes]) {
      this.#nodes = [...this.#nodes.filter((other) => other !== url), url];
      let ranges: SlotRange[];
      try {
        ranges = rangesOf(await ask(url, "CLUSTER", "SLOTS"), url, this.#scheme);
      } catch (error) {
        // A refusal says more than that another node is down.
        if (!failure || (error as Error).name === "RefusedError") failure = error as Error;
        continue;
      }
      const found = new Set([...ranges.flatMap(({ nodes }) => nodes), ...this.#named]);
      this.#nodes = [...this.#nodes.filter((one) => found.delete(one)), ...found];
      const owner = ranges.find(({ first, last }) => first <= slot && slot <= last)?.owner;
      if (owner !== undefined) return owner;
      failure ??= new Error(`no node has slot ${slot} of the Cluster`);
    }
    throw failure ?? new Error("no node of the Cluster is known");
  }

  /** Where `MOVED` or `ASK` sends a command that `url` refused; `undefined` if this is another refusal. */
  redirection(refusal: string, url: string): { readonly ask: boolean; readonly url: string } | undefined {
    const [, word, host, port] = /^(MOVED|ASK) \d+ (.*):(\d+)$/.exec(refusal) ?? [];
    if (port === undefined) return undefined;
    return { ask: word === "ASK", url: serverUrl(this.#scheme, host || hostOf(url), port) };
  }
}

interface SlotRange {
  readonly first: number;
  readonly last: number;
  readonly owner: string | undefined;
  /** The master and its replicas. */
  readonly nodes: string[];
}

/** The reply to `CLUSTER SLOTS` of the node `asked`. */
function rangesOf(reply: unknown, asked: string, scheme: string): SlotRange[] {
  if (!Array.isArray(reply)) throw new Error("the reply to CLUSTER SLOTS is not a list");
  return reply.map((row) => {
    const [first, last, ...nodes] = row as [number, number, ...[string | null, number][]];
    // A node that does not know its own address leaves it out; one that announces no name is "?".
    const known = nodes.map(([host, port]) => (host === "?" ? undefined : serverUrl(scheme, host || hostOf(asked), `${port}`)));
    return { first, last, owner: known[0], nodes: known.filter((url) => url !== undefined) };
  });
}

/** The hash slot of a key, which depends on the part in braces. */
export function slotOf(key: string): number {
  const open = key.indexOf("{");
  const close = open < 0 ? -1 : key.indexOf("}", open + 1);
  const hashed = close > open + 1 ? key.slice(open + 1, close) : key;
  let crc = 0; // CRC-16/XMODEM
  for (const byte of new TextEncoder().encode(hashed)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc % SLOTS;
}
