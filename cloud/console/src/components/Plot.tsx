import { useComputedColorScheme } from "@mantine/core";
import { useElementSize } from "@mantine/hooks";
import { useCallback, useEffect, useState } from "react";
import uPlot from "uplot";
import styles from "./Plot.module.css";

const DAY_MS = 86_400_000;

type PlotProps = {
  /** Another function makes another plot. */
  make: (width: number, css: CSSStyleDeclaration) => uPlot.Options;
  data: uPlot.AlignedData;
  /** What is shown, in Unix ms. */
  from: number;
  to: number;
  /** What a reader who does not see it is told. */
  label: string;
};

/** A uPlot as wide as its place, in the colours of the scheme. */
export function Plot({ make, data, from, to, label }: PlotProps) {
  const { ref: frame, width } = useElementSize();
  const [plot, setPlot] = useState<uPlot | null>(null);
  const scheme = useComputedColorScheme("light");

  // The plot takes its colours when it is made, so another scheme makes another plot.
  const place = useCallback(
    (element: HTMLDivElement) => {
      element.dataset.scheme = scheme;
      const made = new uPlot(make(width, getComputedStyle(document.documentElement)), [[], []], element);
      setPlot(made);
      return () => made.destroy();
    },
    [width, make, scheme],
  );

  useEffect(() => {
    if (plot === null) return;
    plot.setData(data, false);
    plot.setScale("x", { min: from, max: to });
  }, [plot, data, from, to]);

  return (
    <div ref={frame} className={styles.frame}>
      {width > 0 && <div ref={place} role="img" aria-label={label} className={styles.plot} />}
    </div>
  );
}

/** The axes of all plots: time below, values at the left. */
export function axes(css: CSSStyleDeclaration, language: string): [uPlot.Axis, uPlot.Axis] {
  const axis = {
    stroke: css.getPropertyValue("--mantine-color-dimmed").trim(),
    font: `11px ${css.getPropertyValue("--mantine-font-family")}`,
    grid: { stroke: css.getPropertyValue("--line").trim(), width: 1 },
    ticks: { show: false },
  };
  return [
    { ...axis, size: 26, space: 64, values: (_, splits) => clock(splits, language) },
    { ...axis, size: 48, space: 26, values: (_, splits) => splits.map((value) => value.toLocaleString(language)) },
  ];
}

/** Times as an axis shows them: with seconds, or with the day, only where it has to tell them apart. */
function clock(times: number[], language: string): string[] {
  const second = times.some((ms) => ms % 60_000 !== 0) ? "2-digit" : undefined;
  const isLong = (times.at(-1) ?? 0) - (times[0] ?? 0) >= DAY_MS;
  const day = isLong ? ({ month: "short", day: "numeric" } as const) : {};
  const isWhole = isLong && times.every((ms) => new Date(ms).getHours() === 0);
  const hour = isWhole ? {} : ({ hour: "2-digit", minute: "2-digit", second, hourCycle: "h23" } as const);
  const format = new Intl.DateTimeFormat(language, { ...day, ...hour });
  return times.map((ms) => format.format(ms));
}
