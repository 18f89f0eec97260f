// Reads an AsyncAPI document from standard input; prints what AsyncAPI's own parser finds as JSON:
// the diagnostics, and each channel with its messages.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(readFileSync(0, "utf8"));
const channels = {};
for (const channel of document?.channels().all() ?? []) {
  channels[channel.id()] = channel.messages().all().map((message) => message.id());
}
console.log(JSON.stringify({ diagnostics, channels }));
