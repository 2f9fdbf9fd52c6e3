import { useTranslation } from "react-i18next";
import type { Part } from "../../api/types.gen";
import styles from "./Rules.module.css";
import { Values } from "../../components/Values";

/** A condition with all within: whether it holds for the event, and on which values. */
export function Condition({ part }: { part: Part }) {
  const { t } = useTranslation();
  const state = part.holds === null ? "unknown" : part.holds ? "holds" : "fails";
  return (
    <li data-part={part.kind} data-state={state}>
      <div className={styles.part}>
        <span className={styles.sign} data-state={state} title={t(`rule.part.${state}`)}>
          <span aria-hidden="true">{{ holds: "✓", fails: "✗", unknown: "?" }[state]}</span>
          <span className="visually-hidden">{t(`rule.part.${state}`)}</span>
        </span>
        <b className="mono">{part.kind}</b>
        {part.told !== null && <span className="mono">{told(part.told)}</span>}
        <Values values={part.values} />
      </div>
      {part.parts.length > 0 && (
        <ul className={styles.tree}>
          {part.parts.map((one) => (
            <Condition key={JSON.stringify(one)} part={one} />
          ))}
        </ul>
      )}
    </li>
  );
}

/** What stands in a rule's file, on one line. */
function told(value: unknown): string {
  if (typeof value !== "object" || value === null) return String(value);
  const parts = Object.entries(value).filter(([, one]) => one !== null);
  return parts.map(([name, one]) => `${name}: ${typeof one === "object" ? JSON.stringify(one) : String(one)}`).join(", ");
}
