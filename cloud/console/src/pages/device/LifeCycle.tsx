import { useTranslation } from "react-i18next";
import styles from "./LifeCycle.module.css";

const STEPS = ["pending", "sent", "delivered"];
const TONE: Record<string, string> = { succeeded: "good", failed: "bad", rejected: "bad", expired: "warn" };

type Status = "pending" | "sent" | "delivered" | "succeeded" | "failed" | "rejected" | "expired";

/** How far a command is on its way: to the gateway, to the device, to its end. */
export function LifeCycle({ status }: { status: string }) {
  const { t } = useTranslation();
  const reached = STEPS.indexOf(status);
  const tone = TONE[status] ?? "busy";
  const done = reached < 0 ? STEPS.length + 1 : reached + 1;
  return (
    <div className={styles.cycle}>
      <span className={styles.steps} aria-hidden="true">
        {[1, 2, 3, 4].map((step) => (
          <span key={step} data-tone={step <= done ? tone : undefined} />
        ))}
      </span>
      <span className={styles.status} data-tone={tone}>
        {t(`command.status.${status as Status}`)}
      </span>
    </div>
  );
}
