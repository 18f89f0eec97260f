// Decimal text, compared exactly and never rounded.

/** A number as `sign × 0.digits × 10^point`, without zeros at either end of `digits`; zero has no digits. */
export interface Decimal {
  readonly sign: -1 | 0 | 1;
  readonly digits: string;
  readonly point: number;
}

const SHAPE = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,9}))?$/;
const ZERO: Decimal = { sign: 0, digits: "", point: 0 };

/** The number that `text` spells, or `null` if it spells none. */
export function parseDecimal(text: string): Decimal | null {
  const match = SHAPE.exec(text);
  if (!match) return null;
  const whole = match[2] ?? "";
  const fraction = match[3] ?? "";
  if (!whole && !fraction) return null;
  const all = whole + fraction;
  let start = 0;
  while (all[start] === "0") start += 1;
  if (start === all.length) return ZERO;
  let end = all.length;
  while (all[end - 1] === "0") end -= 1;
  return {
    sign: match[1] === "-" ? -1 : 1,
    digits: all.slice(start, end),
    point: whole.length - start + Number(match[4] ?? 0),
  };
}

/** Below zero if `a < b`, zero if they are the same number, above zero if `a > b`. */
export function compareDecimals(a: Decimal, b: Decimal): number {
  if (a.sign !== b.sign) return a.sign - b.sign;
  if (a.sign === 0) return 0;
  if (a.point !== b.point) return a.point < b.point ? -a.sign : a.sign;
  if (a.digits === b.digits) return 0;
  // Digits without trailing zeros after the same point: the order of the text is the order of the numbers.
  return a.digits < b.digits ? -a.sign : a.sign;
}

/** The same text for all spellings of a number: `65080` and `65080.00` have one key. */
export function decimalKey(value: Decimal): string {
  return `${value.sign < 0 ? "-" : ""}${value.digits}e${value.point}`;
}
