export { Account, type ChannelState } from "./account.js";
export { Book, Side, type Best, type Trouble } from "./book.js";
export type { OnOutage } from "./connection.js";
export { compareDecimals, isZero } from "./decimal.js";
export { TickbridgeError } from "./errors.js";
export * from "./generated.js";
export { compareIds } from "./ids.js";
export {
  formatLevels,
  isStored,
  parseLevels,
  type Entry,
  type EntryOf,
  type Hole,
  type Interruption,
  type Item,
  type ItemHead,
  type Level,
  type Reset,
  type Trimmed,
  type Undecodable,
  type Unknown,
  type Unreadable,
} from "./items.js";
export { Keys, isPublic, type StreamKey } from "./keys.js";
export { Reader, type ReadOptions } from "./reader.js";
export type { Start } from "./start.js";
export { Tickbridge, type BookOptions, type FollowOptions, type Following, type StreamOptions, type TickbridgeOptions } from "./tickbridge.js";
