import { clock } from "../model/format";
import type { TapeRow } from "../pages/pair-model";
import { link } from "./route";

const ROWS = 60;

/** The trades, newest first, with what interrupted them in its place. */
export function Tape({ rows, stream }: { rows: readonly TapeRow[]; stream: string }) {
  return (
    <div class="scroll">
      <table class="plain tape">
        <thead>
          <tr>
            <th scope="col">Time</th>
            <th scope="col" class="number">
              Price
            </th>
            <th scope="col" class="number">
              Size
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.slice(0, ROWS).map((row) => {
            const time = <a href={link(["entries"], { key: stream, at: row.id })}>{clock(row.ms)}</a>;
            if ("note" in row) {
              return (
                <tr key={row.id} class="note">
                  <td>{time}</td>
                  <td colSpan={2}>{row.note}</td>
                </tr>
              );
            }
            return (
              <tr key={row.id} class={row.side === "sell" ? "sold" : "bought"}>
                <td>{time}</td>
                <td class="number price">
                  <span aria-label={row.side === "buy" ? "bought at" : "sold at"}>{row.side === "buy" ? "▲" : "▼"}</span>{" "}
                  {row.price}
                </td>
                <td class="number">{row.size}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {rows.length === 0 && <p class="empty">No trade in this time.</p>}
    </div>
  );
}
