import { useTranslation } from "react-i18next";
import type { AlarmChange } from "../api/types.gen";
import styles from "./AlarmHistory.module.css";
import { SeverityMark, severityOf } from "./Severity";
import { Moment } from "./Time";

const KNOWN = ["raised", "acknowledged", "escalated", "amended", "by hand", "cleared", "withdrawn"] as const;

/** What has become of an alarm, the oldest change first. */
export function AlarmHistory({ changes }: { changes: AlarmChange[] }) {
  return (
    <ol className={styles.changes}>
      {changes.map((change) => (
        <Change key={JSON.stringify(change)} change={change} />
      ))}
    </ol>
  );
}

function Change({ change }: { change: AlarmChange }) {
  const { t } = useTranslation();
  const what = KNOWN.find((one) => one === change.what);
  const { raised_at: raised, cleared_at: cleared, severity, recipient } = change.data;
  const escalatedTo = severityOf(severity);
  return (
    <li data-what={change.what}>
      <span className="dim">
        <Moment ts={change.at} />
      </span>
      <b>{what ? t(`alarm.what.${what}`) : change.what}</b>
      {change.by && <span className="dim">{t("alarm.by", { who: change.by })}</span>}
      {change.note && <q>{change.note}</q>}
      {typeof raised === "string" && (
        <span className="dim">
          {t("alarm.beganAt")} <Moment ts={raised} />
        </span>
      )}
      {typeof cleared === "string" && (
        <span className="dim">
          {t("alarm.endedAt")} <Moment ts={cleared} />
        </span>
      )}
      {cleared === null && <span className="dim">{t("alarm.goesOn")}</span>}
      {escalatedTo && <SeverityMark severity={escalatedTo} />}
      {typeof recipient === "string" && <span className="dim">{t("alarm.told", { who: recipient })}</span>}
    </li>
  );
}
