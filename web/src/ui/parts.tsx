// Small pieces that several pages use.

import type { ComponentChildren } from "preact";

/** A state with its colour and its word: colour alone says nothing to some. */
export function State({ state, live = state === "live" }: { state: string; live?: boolean }) {
  const tone = live ? "good" : state === "live" || state === "degraded" || state === "starting" ? "warn" : "bad";
  const word = !live && state === "live" ? "no heartbeat" : state || "unknown";
  return (
    <span class={`state ${tone}`}>
      <i aria-hidden="true" />
      {word}
    </span>
  );
}

/** A line of 60 numbers, oldest first, filled down to zero: one shape, since there are many of these on a page. */
export function Sparkline({ values }: { values: readonly number[] }) {
  const top = Math.max(1, ...values);
  const step = 60 / Math.max(1, values.length - 1);
  const points = values.map((value, index) => `${Math.round(index * step)},${Math.round(19 - (value / top) * 17)}`);
  return (
    <svg class="spark" viewBox="0 0 60 20" preserveAspectRatio="none" aria-hidden="true" focusable="false">
      <polygon points={`-2,22 -2,19 ${points.join(" ")} 62,22`} />
    </svg>
  );
}

export function Tile({ label, value, tone = "" }: { label: string; value: ComponentChildren; tone?: string }) {
  return (
    <div class={`tile ${tone}`}>
      <dt>{label}</dt>
      <dd>{value}</dd>
    </div>
  );
}

export function Panel(props: {
  title: string;
  side?: ComponentChildren;
  className?: string;
  children: ComponentChildren;
}) {
  return (
    <section class={`panel ${props.className ?? ""}`} aria-label={props.title}>
      <header>
        <h2>{props.title}</h2>
        <div class="side">{props.side}</div>
      </header>
      {props.children}
    </section>
  );
}

/** A choice among a few. */
export function Choice<T extends string>(props: {
  label: string;
  options: readonly (readonly [value: T, title: string])[];
  value: T;
  onChange: (value: T) => void;
}) {
  return (
    <div class="choice" role="group" aria-label={props.label}>
      {props.options.map(([value, title]) => (
        <button
          type="button"
          key={value}
          aria-pressed={value === props.value}
          onClick={() => props.onChange(value)}
        >
          {title}
        </button>
      ))}
    </div>
  );
}
