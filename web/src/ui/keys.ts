import { useEffect } from "preact/hooks";

type Action = () => void;
const layers: Readonly<Record<string, Action>>[] = [];
let prefix = "";
let prefixAt = 0;

const PREFIX_MS = 1_500;

function typing(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || ["INPUT", "SELECT", "TEXTAREA"].includes(target.tagName);
}

function action(name: string): Action | undefined {
  for (let at = layers.length - 1; at >= 0; at -= 1) {
    const found = layers[at]![name];
    if (found) return found;
  }
  return undefined;
}

function pressed(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (typing(event.target)) {
    if (event.key === "Escape") (event.target as HTMLElement).blur();
    return;
  }
  // A focused link or button has its own Enter.
  if (event.key === "Enter" && event.target instanceof Element && event.target.closest("a, button, summary")) return;
  const pending = prefix && event.timeStamp - prefixAt < PREFIX_MS ? `${prefix} ` : "";
  prefix = "";
  const found = action(pending + event.key);
  if (found) {
    event.preventDefault();
    found();
  } else if (event.key === "g") {
    prefix = "g";
    prefixAt = event.timeStamp;
  }
}

export function watchKeys(): void {
  addEventListener("keydown", pressed);
}

/** While the component is there, these keys do this; `"g s"` is `g`, then `s`. */
export function useKeys(actions: Readonly<Record<string, Action>>): void {
  useEffect(() => {
    layers.push(actions);
    return () => {
      layers.splice(layers.indexOf(actions), 1);
    };
  });
}
