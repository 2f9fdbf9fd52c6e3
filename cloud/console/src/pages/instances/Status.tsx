import { useTranslation } from "react-i18next";
import type { InstanceShort } from "../../api/types.gen";
import marks from "../../components/marks.module.css";

export type StatusName = InstanceShort["status"];

export const INSTANCE_STATUSES: StatusName[] = ["created", "running", "waiting", "succeeded", "failed", "terminated"];
const TONES: Record<StatusName, string> = { created: "idle", running: "busy", waiting: "busy", succeeded: "good", failed: "bad", terminated: "warn" };

export function statusOf(value: unknown): StatusName | undefined {
  return INSTANCE_STATUSES.find((one) => one === value);
}

/** Whether nothing happens to an instance any more. */
export function isOver(status: StatusName): boolean {
  return status === "succeeded" || status === "failed" || status === "terminated";
}

/** How an instance stands. */
export function Status({ status, count }: { status: StatusName; count?: number }) {
  const { t } = useTranslation();
  return (
    <span className={marks.mark} data-status={status}>
      <span className={marks.dot} data-tone={TONES[status]} />
      {t(`instance.status.${status}`)}
      {count !== undefined && <b>{count}</b>}
    </span>
  );
}

/** How many instances there are, by how they stand. */
export function Counts({ counts }: { counts: Record<string, number> }) {
  const told = INSTANCE_STATUSES.filter((status) => counts[status]);
  if (told.length === 0) return <span className="dim">–</span>;
  return told.map((status) => <Status key={status} status={status} count={counts[status]} />);
}
