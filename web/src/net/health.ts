// Whether the gateway, and Redis behind it, are there; for the banner.

import { Store } from "../ui/store";
import { ApiError, AwayError } from "./api";

export interface Health {
  /** `refused`: the gateway wants a token, or another one. `redis`: the gateway answers, but cannot read Redis. */
  readonly state: "unknown" | "ok" | "away" | "redis" | "refused";
  readonly message: string;
  /** The browser's time since which it is so. */
  readonly since: number;
}

type Problem = Pick<Health, "state" | "message">;

export const health = new Store<Health>({ state: "unknown", message: "", since: Date.now() });
const WORST: readonly Health["state"][] = ["away", "refused", "redis"];
const problems = new Map<string, Problem>();

function problemOf(error: unknown): Problem | null {
  if (error instanceof AwayError) return { state: "away", message: error.message };
  if (!(error instanceof ApiError)) throw error;
  if (error.status === 401) return { state: "refused", message: error.message };
  if (error.status >= 500) return { state: "redis", message: error.message };
  return null; // about this request alone: said where it was asked
}

/** What the last request to a path said; `null`: it went well. */
export function report(path: string, error: unknown): void {
  const problem = error === null ? null : problemOf(error);
  if (problem) problems.set(path, problem);
  else problems.delete(path);
  show();
}

/** Nobody asks for this path any more. */
export function forget(path: string): void {
  problems.delete(path);
}

function show(): void {
  const all = [...problems.values()];
  const state = WORST.find((one) => all.some((problem) => problem.state === one)) ?? "ok";
  const message = all.find((problem) => problem.state === state)?.message ?? "";
  const { value } = health;
  if (value.state === state && value.message === message) return;
  health.set({ state, message, since: value.state === state ? value.since : Date.now() });
}
