import { Tickbridge } from "@tickbridge/client";

const tb = new Tickbridge("redis://127.0.0.1:6379/0");
for await (const book of tb.book("coinbase", "BTC-USD")) {
  const { bid, ask } = book.best();
  console.log(book.id, book.valid ? `${bid?.price} / ${ask?.price}` : `invalid: ${book.why}`);
}
