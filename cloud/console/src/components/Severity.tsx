import { useTranslation } from "react-i18next";
import styles from "./Severity.module.css";

/** How grave an alarm is, from the least to the gravest. */
export const SEVERITIES = ["info", "warning", "minor", "major", "critical"] as const;

export type Severity = (typeof SEVERITIES)[number];

export function severityOf(value: unknown): Severity | undefined {
  return SEVERITIES.find((one) => one === value);
}

/** A severity as a word and as so many filled bars of five, so that nobody has to tell colours apart. */
export function SeverityMark({ severity }: { severity: Severity }) {
  const { t } = useTranslation();
  const level = SEVERITIES.indexOf(severity);
  return (
    <span className={styles.mark} data-severity={severity}>
      <svg className={styles.bars} viewBox="0 0 19 14" aria-hidden="true">
        {SEVERITIES.map((one, index) => (
          <rect key={one} x={index * 4} y={9 - index * 2} width="3" height={5 + index * 2} data-filled={index <= level || undefined} />
        ))}
      </svg>
      {t(`alarm.severity.${severity}`)}
    </span>
  );
}
