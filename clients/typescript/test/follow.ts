// Prints what a client sees, a JSON line each: node follow.js URL book|trades EXCHANGE PAIR [PAIR …]
// Used by tests that compare it with the exchange's truth and with the Python reader.

import { Tickbridge } from "../src/index.js";

const [url = "", kind, exchange = "", ...pairs] = process.argv.slice(2);
const tb = new Tickbridge(url, {
  onOutage: (error) => console.error(error ? `outage: ${error.message}` : "over"),
});
process.once("SIGTERM", () => tb.close());
if (kind === "book") {
  for await (const book of tb.book(exchange, pairs[0] ?? "")) {
    console.log(JSON.stringify({ id: book.id, why: book.why, ...book.top() }));
  }
} else {
  for await (const item of tb.stream(pairs.map((pair) => tb.keys.stream(exchange, pair, "trades")))) {
    console.log(JSON.stringify({ kind: item.kind, id: "id" in item ? item.id : "", key: item.key }));
  }
}
