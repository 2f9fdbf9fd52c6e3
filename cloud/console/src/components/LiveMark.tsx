import { useTranslation } from "react-i18next";
import type { LiveState } from "../live/stream";
import styles from "./marks.module.css";

const TONE = { live: "good", connecting: "idle", reconnecting: "warn" } as const;

/** Whether what is shown is kept up to date. */
export function LiveMark({ state }: { state: LiveState }) {
  const { t } = useTranslation();
  return (
    <span className={styles.mark} role="status" data-live={state} title={t("live.meaning")}>
      <span className={styles.dot} data-tone={TONE[state]} data-pulse={state === "reconnecting" || undefined} />
      {t(`live.${state}`)}
    </span>
  );
}
