// uPlot in a component: made anew with the theme, resized with its box, given data with each drawing.

import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useStore } from "./store";
import { theme } from "./theme";

type Options = Omit<uPlot.Options, "width" | "height">;

export const FONT = "11px system-ui, sans-serif";

interface Props {
  readonly label: string;
  readonly options: () => Options;
  /** Bring the chart to what is to be seen: `setData`, `setScale`. */
  readonly update: (chart: uPlot) => void;
}

export function Chart({ label, options, update }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const current = useRef(update);
  current.current = update;
  const colours = useStore(theme);

  useEffect(() => {
    const element = box.current!;
    const size = (): { width: number; height: number } => ({
      width: Math.max(50, element.clientWidth),
      height: Math.max(50, element.clientHeight),
    });
    const chosen = options();
    const nothing = chosen.series.map((): number[] => []) as unknown as uPlot.AlignedData;
    const made = new uPlot({ ...chosen, ...size() }, nothing, element);
    chart.current = made;
    current.current(made);
    const watcher = new ResizeObserver(() => {
      const { width, height } = size();
      if (width !== made.width || height !== made.height) made.setSize({ width, height });
    });
    watcher.observe(element);
    return () => {
      watcher.disconnect();
      made.destroy();
      chart.current = null;
    };
  }, [colours]);

  useLayoutEffect(() => {
    if (chart.current) update(chart.current);
  });
  return <div class="chart" ref={box} role="img" aria-label={label} />;
}
