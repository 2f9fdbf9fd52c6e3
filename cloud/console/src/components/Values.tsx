import { useTranslation } from "react-i18next";
import { shownValue } from "./values";
import styles from "./Values.module.css";

/** Values by name, in a few lines. */
export function Values({ values }: { values: Record<string, unknown> }) {
  const { t, i18n } = useTranslation();
  const told = Object.entries(values);
  if (told.length === 0) return null;
  return (
    <div className={styles.values}>
      {told.map(([name, value]) => (
        <span key={name}>
          <span className="dim">{name}</span> <b>{typeof value === "object" && value !== null ? JSON.stringify(value) : shownValue(value, t, i18n.language)}</b>
        </span>
      ))}
    </div>
  );
}
