// Decimal text, compared exactly. A price is never converted to a JavaScript number, which has 53 bits.

/**
 * A decimal number in the form `0.<digits> × 10^exponent`, with neither leading nor trailing zeros in `digits`.
 *
 * Two texts of the same number (`65080`, `65080.00`, `6.508e4`) have the same form. Zero has no digits.
 */
export interface Decimal {
  /** -1, 0 or 1. */
  readonly sign: number;
  readonly exponent: number;
  readonly digits: string;
}

const NUMBER = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,15}))?$/;

/** The number that `text` is, or `undefined` if it is not a finite decimal number. */
export function parseDecimal(text: string): Decimal | undefined {
  const found = NUMBER.exec(text);
  if (!found) return undefined;
  const whole = found[2] ?? "";
  const fraction = found[3] ?? "";
  if (whole === "" && fraction === "") return undefined;
  const all = whole + fraction;
  let start = 0;
  while (start < all.length && all.charCodeAt(start) === 48) start += 1;
  if (start === all.length) return { sign: 0, exponent: 0, digits: "" };
  let end = all.length;
  while (all.charCodeAt(end - 1) === 48) end -= 1;
  return {
    sign: found[1] === "-" ? -1 : 1,
    exponent: whole.length - start + (found[4] === undefined ? 0 : Number(found[4])),
    digits: all.slice(start, end),
  };
}

/** Below zero if `a` is less than `b`, above zero if it is greater, and zero if they are the same number. */
export function compare(a: Decimal, b: Decimal): number {
  if (a.sign !== b.sign) return a.sign - b.sign;
  if (a.exponent !== b.exponent) return a.exponent < b.exponent ? -a.sign : a.sign;
  // Digits without trailing zeros compare like words: "12" < "123" < "13".
  if (a.digits === b.digits) return 0;
  return a.digits < b.digits ? -a.sign : a.sign;
}

/**
 * Compare two decimal texts as numbers: below zero, zero or above zero, as `Array.prototype.sort` wants it.
 *
 * @throws {RangeError} one of them is not a decimal number.
 */
export function compareDecimals(a: string, b: string): number {
  return compare(decimal(a), decimal(b));
}

/**
 * Whether the text is the number zero: `0`, `0.00000000`, `-0`.
 *
 * @throws {RangeError} it is not a decimal number.
 */
export function isZero(text: string): boolean {
  return decimal(text).sign === 0;
}

/**
 * The number that `text` is.
 *
 * @throws {RangeError} it is not a finite decimal number.
 */
export function decimal(text: string): Decimal {
  const number = parseDecimal(text);
  if (!number) throw new RangeError(`${JSON.stringify(text.slice(0, 60))} is not a decimal number`);
  return number;
}
