/**
 * Redis is unreachable or refuses this client, or an argument is wrong. The message says what to do.
 */
export class TickbridgeError extends Error {
  override readonly name = "TickbridgeError";
}
