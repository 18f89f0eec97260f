import { Store } from "./store";

export interface Route {
  /** The parts of the path: `#/pair/limitlex/BTC-EUR` is `["pair", "limitlex", "BTC-EUR"]`. */
  readonly path: readonly string[];
  readonly query: URLSearchParams;
}

function current(): Route {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  return { path: path.split("/").filter(Boolean).map(decode), query: new URLSearchParams(query) };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const route = new Store<Route>(current());

export function watchRoute(): void {
  addEventListener("hashchange", () => route.set(current()));
}

/** The link to a page: `link(["pair", "limitlex", "BTC-EUR"])`; empty query values are left out. */
export function link(path: readonly string[], query: Readonly<Record<string, string>> = {}): string {
  const filled = Object.entries(query).filter(([, value]) => value);
  const rest = filled.length ? `?${new URLSearchParams(filled)}` : "";
  return `#/${path.map(encodeURIComponent).join("/")}${rest}`;
}

/** Go to a page. `replace` leaves no step in the history. */
export function go(to: string, replace = false): void {
  if (location.hash === to) return;
  if (replace) {
    history.replaceState(null, "", to);
    route.set(current());
  } else location.hash = to;
}
