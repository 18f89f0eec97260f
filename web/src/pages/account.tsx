import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { clock, share } from "../model/format";
import { msOf } from "../model/ids";
import type { Item } from "../model/items";
import { Wallet, type Row } from "../model/wallet";
import { token } from "../net/api";
import { feed, openNewest } from "../net/feeds";
import { usePoll } from "../net/poll";
import type { StreamRow, Streams } from "../net/types";
import { Panel, State } from "../ui/parts";
import { go, link, route } from "../ui/route";
import { useRedraw, useStore } from "../ui/store";
import { TokenBox } from "../ui/token";

const POLL_MS = 2_000;
const DRAW_MS = 150;
/** Fills that are shown from before the page was opened. */
const FILLS = 200;

export function AccountPage() {
  const { path } = useStore(route);
  const credentials = useStore(token);
  const { data, error } = usePoll<Streams>("api/streams", POLL_MS);
  const accounts = useMemo(() => {
    const found = new Map<string, StreamRow[]>();
    for (const row of data?.streams ?? []) {
      if (row.account === undefined) continue;
      const name = `${row.exchange} ${row.account}`;
      found.set(name, [...(found.get(name) ?? []), row]);
    }
    return found;
  }, [data]);
  const names = [...accounts.keys()].sort();
  const name = path[1] && path[2] ? `${path[1]} ${path[2]}` : (names[0] ?? "");
  const rows = accounts.get(name) ?? [];
  if (!names.length) {
    const why = credentials
      ? "This token may read no account, or no account has streams yet."
      : "Accounts are shown only with a token that names them.";
    return (
      <main class="page">
        <h1 class="hidden">Account</h1>
        <TokenBox why={data ? why : error || "Asking the gateway …"} />
      </main>
    );
  }
  return (
    <main class="page account">
      <header class="pair-head">
        <h1>
          <select
            aria-label="Account"
            value={name}
            onChange={(event) => {
              const [exchange = "", account = ""] = event.currentTarget.value.split(" ");
              go(link(["account", exchange, account]));
            }}
          >
            {!accounts.has(name) && <option value={name}>{name}</option>}
            {names.map((one) => (
              <option key={one} value={one}>
                {one}
              </option>
            ))}
          </select>
        </h1>
        <details class="token-more">
          <summary>Token</summary>
          <TokenBox why="Another token, or none:" />
        </details>
      </header>
      {rows.length > 0 ? (
        <Account key={`${name} ${rows.map((row) => row.key).join()}`} rows={rows} />
      ) : (
        <p class="empty">There are no streams of {name}.</p>
      )}
    </main>
  );
}

function Account({ rows }: { rows: readonly StreamRow[] }) {
  const redraw = useRedraw(DRAW_MS);
  const [wallet] = useState(() => new Wallet());
  useEffect(() => {
    const closers = rows.map(({ key, channel }) => {
      const take = (item: Item): void => {
        wallet.take(channel, item);
        redraw();
      };
      // Fills are shown as they come; the others add up to a state, from the first entry on.
      return channel === "fills" ? openNewest(feed, key, FILLS, take) : feed.open(key, { after: "start" }, take);
    });
    return () => closers.forEach((close) => close());
  }, []);
  const has = (channel: string): boolean => rows.some((row) => row.channel === channel);
  const side = (channel: string): ComponentChildren => {
    const row = rows.find((one) => one.channel === channel);
    if (!row) return <span class="muted">no stream</span>;
    const said = wallet.states.get(channel) ?? "";
    return (
      <a href={link(["entries"], { key: row.key })} title={said && said !== "live" ? said : row.key}>
        <State state={row.live ? "live" : row.state === "live" ? "no heartbeat" : row.state} live={row.live} />
      </a>
    );
  };
  const orders = [...wallet.orders.values()];
  return (
    <div class="account-grid">
      <Panel title="Balances" className={has("positions") ? "" : "wide-panel"} side={side("balances")}>
        <Rows
          empty="No balance has been reported."
          heads={["Currency", "#Available", "#Reserved"]}
          rows={[...wallet.balances.values()]}
          cells={({ fields }) => [fields.currency, fields.available, fields.reserved]}
        />
      </Panel>
      {has("positions") && (
      <Panel title="Positions" side={side("positions")}>
        <Rows
          empty="No position is open."
          heads={["Pair", "Side", "#Size", "#Entry", "#Mark", "#Profit"]}
          rows={[...wallet.positions.values()]}
          cells={({ fields }) => [
            [fields.pair, fields.leg].filter(Boolean).join(" "),
            <span class={fields.side === "long" ? "buy" : "sell"}>{fields.side}</span>,
            fields.size || fields.contracts,
            fields.entry_price,
            fields.mark_price,
            fields.unrealised_pnl,
          ]}
        />
      </Panel>
      )}
      <Panel title={`Open orders${orders.length ? ` (${orders.length})` : ""}`} className="wide-panel" side={side("orders")}>
        <Rows
          empty="No order is open."
          heads={["Pair", "Side", "Kind", "#Price", "#Size", "Filled", "Order"]}
          rows={orders.sort((a, b) => msOf(b.id) - msOf(a.id))}
          cells={({ fields, unconfirmed }) => [
            fields.pair,
            <span class={fields.side}>{fields.side}</span>,
            fields.kind,
            fields.price,
            fields.size,
            <Filled filled={fields.filled} size={fields.size} />,
            <span class="muted" title={`${fields.order_id} ${fields.client_id}`}>
              {unconfirmed ? "unconfirmed " : ""}
              {(fields.order_id || fields.client_id || "").slice(0, 8)}
            </span>,
          ]}
        />
      </Panel>
      <Panel title="Fills" className="wide-panel" side={side("fills")}>
        <div class="scroll">
          <Rows
            empty="No fill yet."
            heads={["Time", "Pair", "Side", "#Price", "#Size", "#Fee"]}
            rows={wallet.fills}
            cells={({ id, fields }) => [
              clock(msOf(id), true),
              fields.pair,
              <span class={fields.side}>{fields.side}</span>,
              fields.price,
              fields.size,
              [fields.fee, fields.fee_currency].filter(Boolean).join(" "),
            ]}
          />
        </div>
      </Panel>
    </div>
  );
}

function Filled({ filled = "", size = "" }: { filled: string | undefined; size: string | undefined }) {
  const part = share(filled, size);
  return (
    <span class="filled" role="img" aria-label={`${filled || "0"} of ${size} filled`}>
      <i>
        <b style={{ width: `${(part * 100).toFixed(1)}%` }} />
      </i>
      {filled || "0"}
    </span>
  );
}

/** A plain table; a title with `#` is that of a column of numbers. */
function Rows(props: {
  heads: readonly string[];
  rows: readonly Row[];
  cells: (row: Row) => ComponentChildren[];
  empty: string;
}) {
  if (!props.rows.length) return <p class="empty">{props.empty}</p>;
  const numbers = props.heads.map((head) => head.startsWith("#"));
  return (
    <div class="x-scroll">
      <table class="plain">
        <thead>
          <tr>
            {props.heads.map((head, index) => (
              <th scope="col" key={head} class={numbers[index] ? "number" : ""}>
                {head.replace("#", "")}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {props.rows.map((row) => (
            <tr key={row.id}>
              {props.cells(row).map((cell, index) => (
                <td key={index} class={numbers[index] ? "number" : ""}>
                  {cell}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
