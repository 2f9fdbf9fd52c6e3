import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { countAlarmsOptions } from "../api/@tanstack/react-query.gen";
import styles from "./AlarmsLink.module.css";
import { SEVERITIES } from "./Severity";

const MOST_SHOWN = 99;

/** The way to the alarms, with the number of those that nobody has acknowledged. */
export function AlarmsLink({ isLoggedIn }: { isLoggedIn: boolean }) {
  const { t } = useTranslation();
  const { data: counts } = useQuery({ ...countAlarmsOptions(), enabled: isLoggedIn });
  const count = SEVERITIES.reduce((sum, one) => sum + (counts?.[one] ?? 0), 0);
  const isGrave = counts !== undefined && counts.major + counts.critical > 0;
  return (
    <Link to="/alarms" activeOptions={{ includeSearch: false }}>
      {t("alarm.title")}
      {count > 0 && (
        <span className={styles.count} data-unacknowledged={count} data-grave={isGrave || undefined}>
          <span aria-hidden="true">{count > MOST_SHOWN ? `${MOST_SHOWN}+` : count}</span>
          <span className="visually-hidden">{t("alarm.unacknowledged", { count })}</span>
        </span>
      )}
    </Link>
  );
}
