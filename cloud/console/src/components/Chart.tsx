import { useCallback, useMemo } from "react";
import type uPlot from "uplot";
import { axes, Plot } from "./Plot";

const HEIGHT = 150;
const GAP_FACTOR = 5;
const FEW = 3; // points, of which a line alone shows nothing

/** A moment at which a dashed line stands, in Unix ms, and the CSS variable of its colour. */
export type Mark = { at: number; color: string };

type ChartProps = {
  points: [string, number][];
  marks: Mark[];
  /** What is shown, in Unix ms. */
  from: number;
  to: number;
  /** The CSS variable of the line's colour. */
  color: string;
  /** What a reader who does not see the line is told. */
  label: string;
  language: string;
};

/** One line over time. A hole in the data is a hole in the line. */
export function Chart({ points, marks, from, to, color, label, language }: ChartProps) {
  const make = useCallback((width: number, css: CSSStyleDeclaration) => options(width, css, color, language, marks), [color, language, marks]);
  const data = useMemo(() => withHoles(points), [points]);
  return <Plot make={make} data={data} from={from} to={to} label={label} />;
}

function options(width: number, css: CSSStyleDeclaration, color: string, language: string, marks: Mark[]): uPlot.Options {
  const line = css.getPropertyValue(color).trim();
  return {
    width,
    height: HEIGHT,
    ms: 1,
    padding: [8, 8, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { size: 7 } },
    scales: { y: { range: (_, low, high) => around(low, high) } },
    axes: axes(css, language),
    hooks: { draw: [(plot) => drawMarks(plot, marks, css)] },
    series: [{}, { stroke: line, width: 1.75, fill: `${line}18`, points: { show: ({ data: [times] }) => times.length <= FEW, size: 5 }, spanGaps: false }],
  };
}

function drawMarks({ ctx, bbox, scales, valToPos }: uPlot, marks: Mark[], css: CSSStyleDeclaration): void {
  const { min = 0, max = 0 } = scales.x ?? {};
  ctx.save();
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
  for (const { at, color } of marks.filter((one) => one.at >= min && one.at <= max)) {
    const x = valToPos(at, "x", true);
    ctx.strokeStyle = css.getPropertyValue(color).trim();
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

/** A range that leaves air above and below, also for a value that stays the same. */
function around(low: number | null, high: number | null): [number, number] {
  if (low === null || high === null) return [0, 1];
  const air = (high - low || Math.abs(high) || 1) * 0.12;
  return [low - air, high + air];
}

/** Points as uPlot takes them, with a null where much more time passed than usual. */
function withHoles(points: [string, number][]): [number[], (number | null)[]] {
  const times = points.map(([ts]) => Date.parse(ts));
  const steps = times.slice(1).map((ts, index) => ts - (times[index] ?? ts));
  const usual = steps.toSorted((one, other) => one - other)[Math.floor(steps.length / 2)] ?? 0;
  const xs: number[] = [];
  const ys: (number | null)[] = [];
  for (const [index, ts] of times.entries()) {
    if (index > 0 && ts - (times[index - 1] ?? ts) > usual * GAP_FACTOR) {
      xs.push(ts - 1);
      ys.push(null);
    }
    xs.push(ts);
    ys.push(points[index]?.[1] ?? null);
  }
  return [xs, ys];
}
