import { useInfiniteQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { useTranslation } from "react-i18next";
import { listAlarmsInfiniteOptions } from "../api/@tanstack/react-query.gen";
import { AlarmRow } from "./AlarmRow";
import { ProblemNote } from "./ProblemNote";
import { More, RowsComing } from "./Rows";
import { SEVERITIES, type Severity } from "./Severity";
import { useMayChange } from "./useMayChange";

const PAGE = 50;
const COLUMNS = 6;
const OPEN = ["active", "acknowledged"] as const;

type AlarmsProps = {
  device?: string;
  /** Those that are over too. */
  all?: boolean;
  /** The least grave that is shown. */
  severity?: Severity;
  /** What is shown when there are none. */
  empty: ReactNode;
};

/** Alarms, the newest first: of one device, or of all. */
export function Alarms({ device, all = false, severity = "info", empty }: AlarmsProps) {
  const { t } = useTranslation();
  const mayChange = useMayChange();
  const graveEnough = severity === "info" ? undefined : SEVERITIES.slice(SEVERITIES.indexOf(severity));
  const alarms = useInfiniteQuery({
    ...listAlarmsInfiniteOptions({ query: { device, state: all ? undefined : [...OPEN], severity: graveEnough, limit: PAGE } }),
    initialPageParam: {},
    getNextPageParam: (page) => page.next ?? undefined,
    placeholderData: (before) => before,
  });
  const items = alarms.data?.pages.flatMap((page) => page.items) ?? [];
  if (alarms.isSuccess && items.length === 0) return empty;
  return (
    <>
      <ProblemNote error={alarms.error} onRetry={alarms.refetch} />
      <div className="scroll">
        <table className="grid">
          <thead>
            <tr>
              <th>{t("alarm.severityOf")}</th>
              <th>{t("alarm.alarm")}</th>
              {device === undefined && <th className="wide-only">{t("device.device")}</th>}
              <th className="wide-only">{t("alarm.raised")}</th>
              <th className="wide-only">{t("alarm.stateOf")}</th>
              <th>
                <span className="visually-hidden">{t("alarm.details")}</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {alarms.isPending && <RowsComing columns={COLUMNS} rows={3} />}
            {items.map((alarm) => (
              <AlarmRow key={alarm.id} alarm={alarm} columns={COLUMNS} isOfOne={device !== undefined} mayChange={mayChange} />
            ))}
          </tbody>
        </table>
      </div>
      <More query={alarms} />
    </>
  );
}
