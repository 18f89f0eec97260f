import { Store } from "./store";

export type Theme = "dark" | "light";
const NAME = "tickbridge.theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

function chosen(): Theme | null {
  try {
    const value = localStorage.getItem(NAME);
    return value === "dark" || value === "light" ? value : null;
  } catch {
    return null; // storage is forbidden
  }
}

export const theme = new Store<Theme>(chosen() ?? (dark.matches ? "dark" : "light"));

function show(): void {
  document.documentElement.dataset.theme = theme.value;
}

export function watchTheme(): void {
  show();
  theme.watch(show);
  dark.addEventListener("change", () => {
    if (!chosen()) theme.set(dark.matches ? "dark" : "light");
  });
}

export function toggleTheme(): void {
  const next = theme.value === "dark" ? "light" : "dark";
  try {
    localStorage.setItem(NAME, next);
  } catch {
    // storage is forbidden: the choice lasts as long as the page
  }
  theme.set(next);
}

/** A colour of the style sheet, for a canvas. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
