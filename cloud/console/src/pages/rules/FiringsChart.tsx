import { useCallback, useMemo } from "react";
import uPlot from "uplot";
import { axes, Plot } from "../../components/Plot";
import type { Fired } from "./useBacktest";

const HEIGHT = 150;
const BARS = 60;
const WIDEST = 24;

type FiringsChartProps = { firings: Fired[]; hasOther: boolean; from: number; to: number; label: string; language: string };

/** How often a rule fires over time, a bar a stretch; two versions stand side by side. */
export function FiringsChart({ firings, hasOther, from, to, label, language }: FiringsChartProps) {
  const make = useCallback((width: number, css: CSSStyleDeclaration) => options(width, css, language, hasOther), [language, hasOther]);
  const data = useMemo(() => counted(firings, hasOther, from, to), [firings, hasOther, from, to]);
  return <Plot make={make} data={data} from={from} to={to} label={label} />;
}

function options(width: number, css: CSSStyleDeclaration, language: string, hasOther: boolean): uPlot.Options {
  const bars = (color: string, align: -1 | 0 | 1): uPlot.Series => ({
    fill: css.getPropertyValue(color).trim(),
    width: 0,
    points: { show: false },
    paths: uPlot.paths.bars?.({ size: [hasOther ? 0.4 : 0.8, WIDEST], align }),
  });
  const [times, counts] = axes(css, language);
  return {
    width,
    height: HEIGHT,
    ms: 1,
    padding: [8, 8, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: { y: { range: (_, __, high) => [0, Math.max(1, high ?? 0) * 1.1] } },
    axes: [times, { ...counts, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000] }],
    series: [{}, bars("--series-1", hasOther ? -1 : 0), ...(hasOther ? [bars("--series-4", 1)] : [])],
  };
}

function counted(firings: Fired[], hasOther: boolean, from: number, to: number): uPlot.AlignedData {
  const width = (to - from) / BARS;
  const counts = { rule: Array<number>(BARS).fill(0), against: Array<number>(BARS).fill(0) };
  for (const { of, at, holds } of firings) {
    const bar = Math.min(BARS - 1, Math.max(0, Math.floor((Date.parse(at) - from) / width)));
    if (holds) counts[of][bar] = (counts[of][bar] ?? 0) + 1;
  }
  const middles = Array.from({ length: BARS }, (_, bar) => from + (bar + 0.5) * width);
  return hasOther ? [middles, counts.rule, counts.against] : [middles, counts.rule];
}
