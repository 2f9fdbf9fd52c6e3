import { useComputedColorScheme } from "@mantine/core";
import { useElementSize } from "@mantine/hooks";
import { useCallback, useEffect, useRef, useState } from "react";
import uPlot from "uplot";
import styles from "./Chart.module.css";

const HEIGHT = 150;
const GAP_FACTOR = 5;

type Props = {
  points: [string, number][];
  /** Where a dashed line stands, in Unix ms. */
  marks: number[];
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
export function Chart({ points, marks, from, to, color, label, language }: Props) {
  const { ref: frame, width } = useElementSize();
  const [plot, setPlot] = useState<uPlot | null>(null);
  const drawnMarks = useRef<number[]>([]);
  const scheme = useComputedColorScheme("light");

  // The plot takes its colours when it is made, so another scheme makes another plot.
  const place = useCallback(
    (element: HTMLDivElement) => {
      const css = getComputedStyle(document.documentElement);
      element.dataset.scheme = scheme;
      const made = new uPlot(options(width, css, color, language, drawnMarks), [[], []], element);
      setPlot(made);
      return () => made.destroy();
    },
    [width, color, language, scheme],
  );

  useEffect(() => {
    if (plot === null) return;
    drawnMarks.current = marks;
    plot.setData(withHoles(points), false);
    plot.setScale("x", { min: from, max: to });
  }, [plot, points, marks, from, to]);

  return (
    <div ref={frame} className={styles.frame}>
      {width > 0 && <div ref={place} role="img" aria-label={label} className={styles.plot} />}
    </div>
  );
}

/** Times as an axis shows them: with seconds only where it has to tell them apart. */
function clock(times: number[], language: string): string[] {
  const second = times.some((ms) => ms % 60_000 !== 0) ? "2-digit" : undefined;
  const format = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", second, hourCycle: "h23" });
  return times.map((ms) => format.format(ms));
}

function options(width: number, css: CSSStyleDeclaration, color: string, language: string, marks: { current: number[] }): uPlot.Options {
  const markColor = css.getPropertyValue("--bad").trim();
  const line = css.getPropertyValue(color).trim();
  const axis = {
    stroke: css.getPropertyValue("--mantine-color-dimmed").trim(),
    font: `11px ${css.getPropertyValue("--mantine-font-family")}`,
    grid: { stroke: css.getPropertyValue("--line").trim(), width: 1 },
    ticks: { show: false },
  };
  return {
    width,
    height: HEIGHT,
    ms: 1,
    padding: [8, 8, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { size: 7 } },
    scales: { y: { range: (_, low, high) => around(low, high) } },
    axes: [
      { ...axis, size: 26, space: 64, values: (_, splits) => clock(splits, language) },
      { ...axis, size: 48, space: 26, values: (_, splits) => splits.map((value) => value.toLocaleString(language)) },
    ],
    hooks: { draw: [(plot) => drawMarks(plot, marks.current, markColor)] },
    series: [{}, { stroke: line, width: 1.75, fill: `${line}18`, points: { show: false }, spanGaps: false }],
  };
}

function drawMarks({ ctx, bbox, scales, valToPos }: uPlot, marks: number[], color: string): void {
  const { min = 0, max = 0 } = scales.x ?? {};
  ctx.save();
  ctx.strokeStyle = color;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
  ctx.beginPath();
  for (const mark of marks.filter((one) => one >= min && one <= max)) {
    const x = valToPos(mark, "x", true);
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
  }
  ctx.stroke();
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
