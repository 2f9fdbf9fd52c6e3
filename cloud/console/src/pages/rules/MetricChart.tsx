import { Select } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { queryTelemetryOptions } from "../../api/@tanstack/react-query.gen";
import { Chart } from "../../components/Chart";
import { ProblemNote } from "../../components/ProblemNote";
import type { Looked } from "./document";
import styles from "./Backtest.module.css";
import type { Fired } from "./useBacktest";

const MOST_RAW_MS = 2 * 3_600_000;
const MOST_WINDOWS = 600;
const WINDOWS = ["15s", "30s", "1m", "2m", "5m", "15m", "30m", "1h", "2h", "6h", "1d"] as const;
const UNITS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const MOST_POINTS = 10_000;

type MetricChartProps = { looked: Looked; firings: Fired[]; devices: string[]; from: number; to: number };

/** The line of the metric that a rule looks at, of one device, with a mark at each firing. */
export function MetricChart({ looked, firings, devices, from, to }: MetricChartProps) {
  const { t, i18n } = useTranslation();
  const [chosen, setChosen] = useState<string>();
  const device = chosen !== undefined && devices.includes(chosen) ? chosen : devices[0];
  const isLong = to - from > MOST_RAW_MS;
  const window = WINDOWS.find((one) => lengthOf(one) * MOST_WINDOWS >= to - from) ?? "1d";
  const telemetry = useQuery({
    ...queryTelemetryOptions({
      query: {
        device: device === undefined ? [] : [device],
        metric: [looked.metric],
        start: new Date(from).toISOString(),
        end: new Date(to).toISOString(),
        limit: MOST_POINTS,
        ...(isLong && { aggregate: looked.aggregate, window }),
      },
    }),
    enabled: device !== undefined,
    staleTime: Number.POSITIVE_INFINITY,
  });
  const marks = useMemo(
    () =>
      firings
        .filter((one) => one.device === device && one.holds)
        .map((one) => ({ at: Date.parse(one.at), color: one.of === "rule" ? "--series-1" : "--series-4" })),
    [firings, device],
  );
  const points = telemetry.data?.series[0]?.points;
  if (device === undefined || (telemetry.isSuccess && !points)) return null;
  const told = [looked.metric, isLong && t(`rule.of.${looked.aggregate}`, { window })].filter(Boolean).join(" · ");
  return (
    <figure className={styles.figure} data-metric={looked.metric} data-marks={marks.length} data-points={points?.length}>
      <figcaption className={styles.caption}>
        <b>{told}</b>
        <span className="dim small grow">{t("rule.dashed", { number: marks.length })}</span>
        <Select size="xs" w={180} aria-label={t("device.device")} allowDeselect={false} value={device} data={devices} onChange={(wanted) => setChosen(wanted ?? undefined)} />
      </figcaption>
      <ProblemNote error={telemetry.error} onRetry={telemetry.refetch} />
      {points && <Chart points={points} marks={marks} from={from} to={to} color="--series-2" label={`${told}: ${device}`} language={i18n.language} />}
    </figure>
  );
}

function lengthOf(window: (typeof WINDOWS)[number]): number {
  return Number.parseInt(window, 10) * UNITS[window.slice(-1) as keyof typeof UNITS];
}
