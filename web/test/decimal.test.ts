import { describe, expect, test } from "vitest";
import { compareDecimals, decimalKey, parseDecimal } from "../src/model/decimal";

const number = (text: string) => parseDecimal(text)!;
const order = (a: string, b: string) => Math.sign(compareDecimals(number(a), number(b)));

describe("decimal text", () => {
  test.each([
    ["65080", "65080.00"],
    ["0", "0.00000000"],
    ["-0", "0"],
    ["007.50", "7.5"],
    ["1E+3", "1000"],
    ["2.5e-7", "0.00000025"],
    [".5", "0.5"],
    ["5.", "5"],
    ["+3", "3"],
  ])("%s and %s are one number", (a, b) => {
    expect(order(a, b)).toBe(0);
    expect(decimalKey(number(a))).toBe(decimalKey(number(b)));
  });

  test.each([
    ["9", "10"],
    ["0.9", "1"],
    ["99.99", "100"],
    ["0.0000001", "0.00000011"],
    ["-10", "-9"],
    ["-1", "0"],
    ["0", "0.1"],
    ["12345678901234567890.1", "12345678901234567890.2"],
    ["0.30000000000000000001", "0.30000000000000000002"],
    ["1e400", "2e400"],
    ["1e-400", "2e-400"],
  ])("%s is below %s", (a, b) => {
    expect(order(a, b)).toBe(-1);
    expect(order(b, a)).toBe(1);
    expect(decimalKey(number(a))).not.toBe(decimalKey(number(b)));
  });

  test.each(["", ".", "-", "1,5", "0x10", "NaN", "Infinity", "1e", "1 2", "--1", "1e9999999999"])("%j is none", (text) => {
    expect(parseDecimal(text)).toBeNull();
  });
});
