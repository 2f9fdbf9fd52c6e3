import { Button, SegmentedControl, Skeleton } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { listAlarmsOptions, queryTelemetryOptions } from "../../api/@tanstack/react-query.gen";
import type { Series } from "../../api/types.gen";
import { Chart, type Mark } from "../../components/Chart";
import { Empty } from "../../components/Empty";
import { ProblemNote } from "../../components/ProblemNote";
import { Moment, useNow } from "../../components/Time";
import { shownValue } from "../../components/values";
import styles from "./Charts.module.css";
import { Completeness } from "./Completeness";
import { DEFAULT_RANGE, type Range, RANGES } from "./ranges";

const WINDOWS_EVERY_MS = 10_000;
const TABLE_ROWS = 100;
const MOST_MARKS = 100;

const route = getRouteApi("/shell/devices/$device");

/** The device's metrics over time, as charts or as a table. */
export function Charts({ device }: { device: string }) {
  const { t } = useTranslation();
  const { range = DEFAULT_RANGE, view } = route.useSearch();
  const navigate = useNavigate({ from: "/devices/$device" });
  return (
    <section className="card" aria-labelledby="telemetry">
      <header>
        <h2 id="telemetry" className="grow">
          {t("telemetry.title")}
        </h2>
        <Button
          size="compact-xs"
          variant="default"
          aria-pressed={view === "table"}
          onClick={() => void navigate({ search: (had) => ({ ...had, view: view === "table" ? undefined : ("table" as const) }), replace: true })}
        >
          {view === "table" ? t("telemetry.asChart") : t("telemetry.asTable")}
        </Button>
        <SegmentedControl
          size="xs"
          aria-label={t("telemetry.range")}
          value={range}
          onChange={(wanted) => void navigate({ search: (had) => ({ ...had, range: wanted as Range }), replace: true })}
          data={Object.keys(RANGES).map((one) => ({ value: one, label: t(`range.${one as Range}`) }))}
        />
      </header>
      <Readings key={`${device} ${range}`} device={device} range={range} isTable={view === "table"} />
    </section>
  );
}

function Readings({ device, range, isTable }: { device: string; range: Range; isTable: boolean }) {
  const { t } = useTranslation();
  const { ms, window } = RANGES[range];
  // Stays as it is while the range does: each other start were another query.
  const [start] = useState(() => new Date(Date.now() - ms).toISOString());
  const telemetry = useQuery({
    ...queryTelemetryOptions({
      query: { device: [device], start, limit: 10_000, ...(window && { aggregate: "average", window }) },
    }),
    refetchInterval: window ? WINDOWS_EVERY_MS : false,
    staleTime: 0,
  });

  const alarms = useQuery(
    listAlarmsOptions({ query: { device, raised_from: start, state: ["active", "acknowledged", "cleared"], limit: MOST_MARKS } }),
  );

  const series = telemetry.data?.series ?? [];
  const marks = useMemo(() => alarms.data?.items.map((alarm) => ({ at: Date.parse(alarm.raised_at), color: "--bad" })) ?? [], [alarms.data]);
  return (
    <div className="body">
      <ProblemNote error={telemetry.error} onRetry={telemetry.refetch} />
      <Completeness device={device} start={start} />
      {telemetry.isPending && <Skeleton height={300} />}
      {telemetry.isSuccess && series.length === 0 && <Empty title={t("telemetry.empty")} />}
      {isTable ? <Points series={series} /> : <Lines series={series} marks={marks} ms={ms} isMean={window !== undefined} />}
    </div>
  );
}

type LinesProps = { series: Series[]; marks: Mark[]; ms: number; isMean: boolean };

function Lines({ series, marks, ms, isMean }: LinesProps) {
  const { t, i18n } = useTranslation();
  const now = useNow(1000);
  const marked = marks.filter((mark) => mark.at >= now - ms).length;
  return series.map((one, index) => {
    const values = one.points.filter(([ts]) => Date.parse(ts) >= now - ms).map(([, value]) => value);
    const told = (value: number) => shownValue(value, t, i18n.language);
    const last = one.points.at(-1);
    const summary =
      values.length > 0
        ? t("telemetry.summary", { min: told(Math.min(...values)), max: told(Math.max(...values)), count: values.length })
        : t("telemetry.nothingInRange");
    return (
      <figure key={named(one)} className={styles.figure} data-metric={one.metric} data-points={one.points.length} data-marks={marked}>
        <figcaption className={styles.caption}>
          <span className={styles.swatch} data-series={(index % 4) + 1} />
          <b>{named(one)}</b>
          {last && <span className={styles.last}>{told(last[1])}</span>}
          <span className="dim small">
            {isMean && `${t("telemetry.mean")} · `}
            {summary}
            {marked > 0 && ` · ${t("telemetry.marks", { count: marked })}`}
          </span>
        </figcaption>
        <Chart
          points={one.points}
          marks={marks}
          from={now - ms}
          to={now}
          color={`--series-${(index % 4) + 1}`}
          label={`${named(one)}: ${summary}`}
          language={i18n.language}
        />
      </figure>
    );
  });
}

function Points({ series }: { series: Series[] }) {
  const { t, i18n } = useTranslation();
  const [rows, setRows] = useState(TABLE_ROWS);
  const table = useMemo(() => rowsOf(series), [series]);
  return (
    <div className="scroll">
      <table className="grid">
        <thead>
          <tr>
            <th>{t("telemetry.time")}</th>
            {series.map((one) => (
              <th key={named(one)} className="num">
                {named(one)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {table.slice(0, rows).map(([ts, values]) => (
            <tr key={ts}>
              <td>
                <Moment ts={ts} />
              </td>
              {series.map((one) => (
                <td key={named(one)} className="num">
                  {shownValue(values[named(one)], t, i18n.language)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {table.length > rows && (
        <Button m="sm" size="xs" variant="default" onClick={() => setRows(rows + TABLE_ROWS)}>
          {t("list.more")}
        </Button>
      )}
    </div>
  );
}

/** Return a metric with its tags, which set apart what else had one name. */
function named({ metric, tags }: Series): string {
  const told = Object.entries(tags).map(([name, value]) => `${name}=${value}`);
  return [metric, ...told].join(" ");
}

/** Return [time, {series: value}], the newest first. */
function rowsOf(series: Series[]): [string, Record<string, number>][] {
  const rows = new Map<string, Record<string, number>>();
  for (const one of series) {
    for (const [ts, value] of one.points) {
      const row = rows.get(ts) ?? {};
      row[named(one)] = value;
      rows.set(ts, row);
    }
  }
  return [...rows].toSorted(([one], [other]) => (one < other ? 1 : -1));
}
