// Requests to the gateway. The token goes into a header, never into a URL of this page.

import { Store } from "../ui/store";

const TOKEN = "tickbridge.token";

function stored(): string {
  try {
    return sessionStorage.getItem(TOKEN) ?? "";
  } catch {
    return "";
  }
}

export const token = new Store<string>(stored());

export function setToken(value: string): void {
  try {
    if (value) sessionStorage.setItem(TOKEN, value);
    else sessionStorage.removeItem(TOKEN);
  } catch {
    // storage is forbidden: the token lasts as long as the page
  }
  token.set(value);
}

/** The gateway answered with an error; `message` is what it says. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** The gateway did not answer. */
export class AwayError extends Error {}

const TIMEOUT_MS = 10_000;

/** The address of a path of the gateway, wherever a proxy puts the page. */
export function address(path: string, query: Readonly<Record<string, string>> = {}): URL {
  const url = new URL(path, document.baseURI);
  for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value);
  url.hash = "";
  return url;
}

export async function getJson<T>(path: string, query: Readonly<Record<string, string>> = {}): Promise<T> {
  return answered<T>(path, query, {});
}

/** Ask the gateway to do something; only simulators can be asked. */
export async function postJson<T>(path: string, body: unknown): Promise<T> {
  return answered<T>(path, {}, { method: "POST", body: JSON.stringify(body) });
}

async function answered<T>(path: string, query: Readonly<Record<string, string>>, request: RequestInit): Promise<T> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (request.body) headers["Content-Type"] = "application/json";
  if (token.value) headers.Authorization = `Bearer ${token.value}`;
  let answer: Response;
  let text: string;
  try {
    answer = await fetch(address(path, query), {
      ...request,
      headers,
      cache: "no-store",
      credentials: "same-origin",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    text = await answer.text();
  } catch (error) {
    throw new AwayError(error instanceof Error ? error.message : String(error));
  }
  if (!answer.ok) throw new ApiError(answer.status, said(text) || `${answer.status} ${answer.statusText}`);
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new AwayError(`${path} did not answer with JSON`);
  }
}

function said(text: string): string {
  try {
    const { error } = JSON.parse(text) as { error?: unknown };
    return typeof error === "string" ? error : "";
  } catch {
    return text.length < 300 ? text.trim() : "";
  }
}
