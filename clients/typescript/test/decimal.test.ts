import assert from "node:assert/strict";
import { test } from "node:test";

import { compareDecimals, isZero } from "../src/index.js";

test("texts of the same number are equal", () => {
  for (const [a, b] of [
    ["65080", "65080.00"],
    ["65080", "065080"],
    ["0.5", ".5"],
    ["5", "5."],
    ["1e3", "1000"],
    ["1.5E-7", "0.00000015"],
    ["+1", "1"],
    ["0", "-0.00"],
    ["0e5", "0"],
    ["100", "1E+2"],
  ] as const) {
    assert.equal(compareDecimals(a, b), 0, `${a} ${b}`);
    assert.equal(compareDecimals(b, a), 0, `${b} ${a}`);
  }
});

test("numbers are compared exactly, also beyond 53 bits", () => {
  const ascending = [
    "-1e999999999999",
    "-12345678901234567890.000000000000000002",
    "-12345678901234567890.000000000000000001",
    "-10",
    "-9.5",
    "-1e-9",
    "0",
    "0.0000000000000000000000000001",
    "0.1",
    "0.10000000000000000001",
    "0.9",
    "1",
    "9.99",
    "10",
    "10.01",
    "9007199254740992.9",
    "9007199254740993",
    "9007199254740993.0000000000000000001",
    "1e999999999999",
  ];
  for (const [place, a] of ascending.entries()) {
    for (const [other, b] of ascending.entries()) {
      assert.equal(Math.sign(compareDecimals(a, b)), Math.sign(place - other), `${a} ${b}`);
    }
  }
});

test("zero is zero however it is written", () => {
  for (const zero of ["0", "0.00000000", "-0", "00", ".0", "0e9"]) assert.ok(isZero(zero), zero);
  for (const other of ["0.00000001", "1", "-1", "1e-99"]) assert.ok(!isZero(other), other);
});

test("what is not a decimal number is refused", () => {
  for (const text of ["", ".", "-", "e5", "1e", "1,5", "0x10", "NaN", "Infinity", " 1", "1 ", "1_000", "1e1.5", "--1", "١"]) {
    assert.throws(() => isZero(text), RangeError, text);
    assert.throws(() => compareDecimals("1", text), RangeError, text);
  }
});
