import { expect, test } from "vitest";
import { sorted, type Column } from "../src/ui/table";

interface Row {
  readonly name: string;
  readonly size: number;
}

const COLUMNS: readonly Column<Row>[] = [
  { id: "name", title: "Name", order: (row) => row.name, cell: () => null },
  { id: "size", title: "Size", order: (row) => row.size, cell: () => null },
  { id: "other", title: "Other", cell: () => null },
];
const ROWS: readonly Row[] = [
  { name: "b", size: 10 },
  { name: "a", size: 9 },
  { name: "c", size: 10 },
  { name: "d", size: Infinity },
];

test.each([
  ["name", "abcd"],
  ["-name", "dcba"],
  ["size", "abcd"], // numbers as numbers; equal ones stay as they are
  ["-size", "dbca"],
  ["other", "bacd"],
  ["unknown", "bacd"],
  ["", "bacd"],
])("sorted by %s", (sort, names) => {
  expect(sorted(ROWS, COLUMNS, sort).map(({ name }) => name).join("")).toBe(names);
});
