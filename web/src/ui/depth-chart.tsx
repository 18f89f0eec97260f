import { useRef } from "preact/hooks";
import uPlot from "uplot";
import type { BookKeeper } from "../model/book";
import { depth } from "../model/depth";
import { Chart, FONT } from "./chart";
import { colour } from "./theme";

export function DepthChart({ book }: { book: BookKeeper }) {
  const current = useRef(book);
  current.current = book;
  const options = (): Omit<uPlot.Options, "width" | "height"> => {
    const axis = {
      stroke: colour("muted"),
      grid: { stroke: colour("line"), width: 1 },
      ticks: { show: false },
      font: FONT,
    };
    const side = (tone: string, align: 1 | -1): uPlot.Series => ({
      stroke: colour(tone),
      fill: `${colour(tone)}26`,
      width: 1.5,
      points: { show: false },
      paths: uPlot.paths.stepped!({ align }),
    });
    return {
      padding: [10, 0, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: false }, y: { range: (_, __, high) => [0, (high || 1) * 1.05] } },
      axes: [
        { ...axis, size: 26 },
        { ...axis, side: 1, size: 64 },
      ],
      series: [{}, side("buy", -1), side("sell", 1)],
    };
  };
  const update = (chart: uPlot): void => {
    chart.setData(depth(current.current.bids.levels, current.current.asks.levels));
  };
  return <Chart label="Depth of the order book" options={options} update={update} />;
}
