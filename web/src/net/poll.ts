import { useEffect, useState } from "preact/hooks";
import { useStore } from "../ui/store";
import { getJson, token } from "./api";
import { clockSeen } from "./clock";
import { forget, report } from "./health";

export interface Polled<T> {
  readonly data: T | null;
  readonly error: string;
}

const NOTHING = { data: null, error: "" };

/**
 * Ask for `path` every `pause` milliseconds while the page is visible, one request at a time. After an error the last
 * answer stays, with the error beside it. An empty path asks for nothing.
 */
export function usePoll<T extends object>(
  path: string,
  pause: number,
  query: Readonly<Record<string, string>> = {},
): Polled<T> {
  const [polled, setPolled] = useState<Polled<T>>(NOTHING);
  const asked = JSON.stringify(query);
  const credentials = useStore(token);
  useEffect(() => {
    if (!path) return undefined;
    let over = false;
    let asking = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ask = async (): Promise<void> => {
      clearTimeout(timer);
      if (asking || over) return;
      asking = true;
      try {
        const data = await getJson<T>(path, JSON.parse(asked));
        if (over) return;
        if ("now" in data) clockSeen(String(data.now));
        report(path, null);
        setPolled({ data, error: "" });
      } catch (error) {
        if (over) return;
        report(path, error);
        setPolled((last) => ({ ...last, error: error instanceof Error ? error.message : String(error) }));
      } finally {
        asking = false;
      }
      if (document.visibilityState === "visible") timer = setTimeout(() => void ask(), pause);
    };
    const seen = (): void => {
      if (document.visibilityState === "visible") void ask();
    };
    setPolled(NOTHING);
    void ask();
    document.addEventListener("visibilitychange", seen);
    return () => {
      over = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
      forget(path);
    };
  }, [path, pause, asked, credentials]);
  return polled;
}
