import { useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import type { Candle } from "../model/candles";
import { clock } from "../model/format";
import { Chart, FONT } from "./chart";
import { colour } from "./theme";

/** Width of the axis of prices, in CSS pixels: the band above ends where the plot does. */
const AXIS = 64;
const NOTHING: uPlot.Series.PathBuilder = () => null;

interface Props {
  readonly bars: readonly Candle[];
  readonly interval: number;
  readonly from: number;
  readonly to: number;
}

export function CandleChart(props: Props) {
  const current = useRef(props);
  current.current = props;
  const [pointed, point] = useState<Candle | null>(null);
  const bar = pointed ?? props.bars[props.bars.length - 1];

  const options = (): Omit<uPlot.Options, "width" | "height"> => {
    const grid = { stroke: colour("line"), width: 1 };
    const axis = { stroke: colour("muted"), grid, ticks: { show: false }, font: FONT };
    return {
      ms: 1,
      padding: [10, 0, 0, 0],
      legend: { show: false },
      cursor: { points: { show: false }, drag: { x: false, y: false }, y: false },
      scales: {
        x: { time: true, range: () => [current.current.from, current.current.to] },
        y: { range: (_, low, high) => around(low, high) },
        volume: { range: (_, __, high) => [0, (high || 1) * 5] },
      },
      axes: [
        { ...axis, size: 26, values: (_, splits) => splits.map((split) => label(split, splits)) },
        { ...axis, side: 1, size: AXIS, scale: "y" },
      ],
      series: [
        {},
        { scale: "y", paths: NOTHING, points: { show: false } },
        { scale: "y", paths: NOTHING, points: { show: false } },
        { scale: "volume", paths: NOTHING, points: { show: false } },
      ],
      hooks: {
        draw: [(chart) => draw(chart, current.current)],
        setCursor: [
          ({ cursor }) => {
            const { idx } = cursor;
            point(typeof idx === "number" ? (current.current.bars[idx] ?? null) : null);
          },
        ],
      },
    };
  };

  const update = (chart: uPlot): void => {
    const bars = current.current.bars;
    const middle = current.current.interval / 2;
    chart.setData([
      bars.map(({ start }) => start + middle),
      bars.map(({ low }) => low),
      bars.map(({ high }) => high),
      bars.map(({ volume }) => volume),
    ]);
  };

  return (
    <>
      <Chart label="Candles of the trades" options={options} update={update} />
      <p class="pointed" aria-hidden="true">
        {bar &&
          `${clock(bar.start)}  open ${bar.open}  high ${bar.high}  low ${bar.low}  close ${bar.close}${bar.incomplete ? "  incomplete" : ""}`}
      </p>
    </>
  );
}

function around(low: number | null, high: number | null): [number, number] {
  if (low === null || high === null) return [0, 1];
  const space = (high - low) * 0.08 || Math.abs(high) * 0.001 || 1;
  return [low - space, high + space];
}

function label(split: number, splits: readonly number[]): string {
  const step = (splits[1] ?? 0) - (splits[0] ?? 0);
  return step > 0 && step < 60_000 ? clock(split) : clock(split).slice(0, 5);
}

function draw(chart: uPlot, { bars, interval, from }: Props): void {
  const { ctx } = chart;
  const ratio = devicePixelRatio;
  const { left, top, width, height } = chart.bbox;
  const slot = Math.abs(chart.valToPos(interval, "x", true) - chart.valToPos(0, "x", true));
  const wide = Math.max(ratio, Math.floor(slot * 0.68));
  const tones = { up: colour("buy"), down: colour("sell"), hollow: colour("panel") };
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  for (const bar of bars) {
    if (bar.start + interval < from) continue;
    const x = Math.round(chart.valToPos(bar.start + interval / 2, "x", true));
    const y = (price: number): number => Math.round(chart.valToPos(price, "y", true));
    const tone = bar.close >= bar.open ? tones.up : tones.down;
    const edge = Math.round(x - wide / 2);
    ctx.fillStyle = tone;
    ctx.strokeStyle = tone;
    ctx.globalAlpha = 0.22;
    const foot = chart.valToPos(bar.volume, "volume", true);
    ctx.fillRect(edge, foot, wide, top + height - foot);
    ctx.globalAlpha = 1;
    ctx.fillRect(x - ratio / 2, y(bar.high), ratio, Math.max(ratio, y(bar.low) - y(bar.high)));
    const upper = Math.min(y(bar.open), y(bar.close));
    const tall = Math.max(ratio, Math.abs(y(bar.open) - y(bar.close)));
    if (bar.incomplete) {
      // Hollow and dashed: trades are missing in this bar.
      ctx.fillStyle = tones.hollow;
      ctx.fillRect(edge, upper, wide, tall);
      ctx.lineWidth = ratio;
      ctx.setLineDash([2 * ratio, 2 * ratio]);
      ctx.strokeRect(edge + ratio / 2, upper + ratio / 2, wide - ratio, Math.max(1, tall - ratio));
      ctx.setLineDash([]);
    } else ctx.fillRect(edge, upper, wide, tall);
  }
  ctx.restore();
}
