import { useEffect, useState } from "preact/hooks";

/** A value that components can watch. */
export class Store<T> {
  private readonly watchers = new Set<() => void>();

  constructor(private current: T) {}

  get value(): T {
    return this.current;
  }

  set(value: T): void {
    if (Object.is(value, this.current)) return;
    this.current = value;
    for (const watcher of [...this.watchers]) watcher();
  }

  watch(watcher: () => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }
}

/** The value of a store; the component is drawn again when it changes. */
export function useStore<T>(store: Store<T>): T {
  const [, redraw] = useState({});
  useEffect(() => store.watch(() => redraw({})), [store]);
  return store.value;
}

/**
 * Returns a function that asks for the component to be drawn again, at most once in `pause` milliseconds and only in an
 * animation frame: entries come faster than anybody reads.
 */
export function useRedraw(pause: number): () => void {
  const [, redraw] = useState({});
  const [ask] = useState(() => {
    let waiting = false;
    let last = 0;
    const draw = (): void => {
      waiting = false;
      last = performance.now();
      redraw({});
    };
    return () => {
      if (waiting) return;
      waiting = true;
      const wait = last + pause - performance.now();
      if (wait > 0) setTimeout(() => requestAnimationFrame(draw), wait);
      else requestAnimationFrame(draw);
    };
  });
  return ask;
}

/** Draws the component again every `pause` milliseconds: for ages and windows of time. */
export function useTicking(pause: number): void {
  const [, redraw] = useState({});
  useEffect(() => {
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") redraw({});
    }, pause);
    return () => clearInterval(timer);
  }, [pause]);
}
