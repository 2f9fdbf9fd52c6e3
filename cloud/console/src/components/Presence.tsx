import { useTranslation } from "react-i18next";
import styles from "./marks.module.css";

const TONE: Record<string, string> = { online: "good", asleep: "good", stale: "warn", offline: "bad" };
const KNOWN = ["online", "asleep", "stale", "offline"] as const;

/** Whether a device is connected, as the registry has it. */
export function Presence({ status }: { status: string }) {
  const { t } = useTranslation();
  const known = KNOWN.find((one) => one === status) ?? "unknown";
  return (
    <span className={styles.mark} data-presence={status}>
      <span className={styles.dot} data-tone={TONE[status] ?? "idle"} />
      {t(`presence.${known}`)}
    </span>
  );
}
