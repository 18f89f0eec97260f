import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { useKeys } from "./keys";

export interface Column<T> {
  readonly id: string;
  readonly title: string;
  /** `wide` columns go on narrow screens; `number` ones are right-aligned. */
  readonly className?: string;
  readonly hint?: string;
  /** What rows are sorted by. */
  readonly order?: (row: T) => string | number;
  readonly cell: (row: T) => ComponentChildren;
}

interface Props<T> {
  readonly label: string;
  readonly columns: readonly Column<T>[];
  readonly rows: readonly T[];
  readonly rowKey: (row: T) => string;
  readonly rowClass?: (row: T) => string;
  readonly onOpen?: (row: T) => void;
  readonly sort: string;
  readonly onSort: (sort: string) => void;
  readonly empty: string;
}

const ROW = 30;
const MARGIN = 8;

/** Rows in the order of a sort such as `seq` or `-seq`; equal ones stay as they are. */
export function sorted<T>(rows: readonly T[], columns: readonly Column<T>[], sort: string): T[] {
  const down = sort.startsWith("-");
  const order = columns.find((column) => column.id === (down ? sort.slice(1) : sort))?.order;
  if (!order) return [...rows];
  // Once for each row: a comparison may be made ten times as often.
  const keyed = rows.map((row) => ({ row, key: order(row) }));
  const sign = down ? -1 : 1;
  keyed.sort((a, b) => (a.key < b.key ? -sign : a.key > b.key ? sign : 0));
  return keyed.map(({ row }) => row);
}

/** A table of any length: only the rows in view are in the document. `j`, `k` move, Enter opens. */
export function Table<T>(props: Props<T>) {
  const { columns, rows, sort } = props;
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 600 });
  const [chosen, show] = useState("");
  // Keys may come faster than frames: the next one goes on from here, not from what is drawn.
  const newest = useRef("");
  const [choose] = useState(() => (name: string) => {
    newest.current = name;
    show(name);
  });

  useLayoutEffect(() => {
    const element = box.current!;
    // By whole rows: within a row, scrolling needs no drawing of ours.
    const look = (): void => {
      const top = Math.floor(element.scrollTop / ROW) * ROW;
      const height = element.clientHeight;
      setView((last) => (last.top === top && last.height === height ? last : { top, height }));
    };
    const watcher = new ResizeObserver(look);
    watcher.observe(element);
    element.addEventListener("scroll", look, { passive: true });
    look();
    return () => {
      watcher.disconnect();
      element.removeEventListener("scroll", look);
    };
  }, []);

  const place = (): number => rows.findIndex((row) => props.rowKey(row) === newest.current);
  const keys = useRef({ move: (_: number) => {}, open: () => {} });
  keys.current = {
    move: (step) => {
      if (!rows.length) return;
      const at = place();
      const next = Math.min(rows.length - 1, Math.max(0, at < 0 ? 0 : at + step));
      choose(props.rowKey(rows[next]!));
      const element = box.current!;
      const top = next * ROW;
      if (top < element.scrollTop) element.scrollTop = top;
      else if (top + 2 * ROW > element.scrollTop + element.clientHeight) {
        element.scrollTop = top + 2 * ROW - element.clientHeight;
      }
    },
    open: () => {
      const row = rows[place()];
      if (row) props.onOpen?.(row);
    },
  };
  const [actions] = useState(() => ({
    j: () => keys.current.move(1),
    k: () => keys.current.move(-1),
    ArrowDown: () => keys.current.move(1),
    ArrowUp: () => keys.current.move(-1),
    Enter: () => keys.current.open(),
  }));
  useKeys(actions);
  useEffect(() => {
    if (box.current) box.current.scrollTop = 0;
  }, [sort]);

  const current = useRef(props);
  current.current = props;
  const first = Math.max(0, Math.floor(view.top / ROW) - MARGIN);
  const end = Math.min(rows.length, Math.ceil((view.top + view.height) / ROW) + MARGIN);
  const shown = rows.slice(first, end);
  // A row that scrolls out of view lends its elements to one that scrolls in.
  const pool = Math.ceil(view.height / ROW) + 2 * MARGIN + 1;
  return (
    <div class="table-box" ref={box} tabIndex={0} role="region" aria-label={props.label}>
      <table class="rows" aria-rowcount={rows.length + 1}>
        <thead>
          <tr aria-rowindex={1}>
            {columns.map((column) => (
              <Heading key={column.id} column={column} sort={sort} onSort={props.onSort} />
            ))}
          </tr>
        </thead>
        <tbody>
          {first > 0 && <Spacer rows={first} />}
          {shown.map((row, index) => {
            const key = props.rowKey(row);
            return (
              <TableRow
                key={(first + index) % pool}
                row={row}
                name={key}
                place={first + index}
                chosen={key === chosen}
                table={current}
                choose={choose}
              />
            );
          })}
          {end < rows.length && <Spacer rows={rows.length - end} />}
        </tbody>
      </table>
      {rows.length === 0 && <p class="empty">{props.empty}</p>}
    </div>
  );
}

interface RowProps<T> {
  readonly row: T;
  readonly name: string;
  readonly place: number;
  readonly chosen: boolean;
  readonly table: { readonly current: Props<T> };
  readonly choose: (name: string) => void;
}

/** Made anew only when the row has changed: a scrolled table costs what comes into view. */
function TableRow<T>({ row, name, place, chosen, table, choose }: RowProps<T>) {
  return useMemo(() => {
    const { columns, rowClass, onOpen } = table.current;
    const classes = [chosen ? "chosen" : "", rowClass?.(row) ?? "", onOpen ? "opens" : ""];
    return (
      <tr
        aria-rowindex={place + 2}
        aria-current={chosen ? "true" : undefined}
        class={classes.filter(Boolean).join(" ")}
        onClick={(event) => {
          choose(name);
          if (!(event.target as Element).closest("a")) table.current.onOpen?.(row);
        }}
      >
        {columns.map((column) => (
          <td key={column.id} class={column.className}>
            {column.cell(row)}
          </td>
        ))}
      </tr>
    );
  }, [row, name, place, chosen]);
}

function Heading<T>({ column, sort, onSort }: { column: Column<T>; sort: string; onSort: (sort: string) => void }) {
  const up = sort === column.id;
  const down = sort === `-${column.id}`;
  // Of numbers, the largest ones are looked for first.
  const falling = column.className?.includes("number") ? !down : up;
  const next = falling ? `-${column.id}` : column.id;
  const direction = up ? "ascending" : down ? "descending" : undefined;
  return (
    <th scope="col" class={`${column.className ?? ""} column-${column.id}`} title={column.hint} aria-sort={direction}>
      {column.order ? (
        <button type="button" class="sort" onClick={() => onSort(next)}>
          {column.title}
          <span aria-hidden="true">{up ? " ▲" : down ? " ▼" : ""}</span>
        </button>
      ) : (
        column.title
      )}
    </th>
  );
}

/** One cell: in a table of fixed layout, a span over columns that narrow screens hide would make them anew. */
function Spacer({ rows }: { rows: number }) {
  return (
    <tr aria-hidden="true" class="spacer">
      <td style={{ height: `${rows * ROW}px` }} />
    </tr>
  );
}
