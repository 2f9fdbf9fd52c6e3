import { useTranslation } from "react-i18next";
import type { RuleShown } from "../../api/types.gen";
import { AtGateways } from "../../components/AtGateways";
import styles from "../../components/Page.module.css";
import own from "./Rules.module.css";

const OUTCOMES = ["done", "sent", "waiting", "failed", "withheld"] as const;

/** How a rule stands: what gateways made of it, what its actions came to, and who else writes what it writes. */
export function Standing({ rule }: { rule: RuleShown }) {
  const { t } = useTranslation();
  const outcomes = OUTCOMES.filter((one) => rule.effects[one]);
  return (
    <div className={styles.lists}>
      <AtGateways told={rule.gateways} nobody={rule.placement === "cloud" ? t("rule.cloudAlone") : t("rule.noGateway")} />
      {outcomes.length > 0 && (
        <section className="card" aria-labelledby="outcomes">
          <h2 id="outcomes">{t("rule.outcomes")}</h2>
          <dl className={`body ${styles.facts} ${own.counts}`}>
            {outcomes.map((one) => (
              <div key={one}>
                <dt>{t(`rule.effect.${one}`)}</dt>
                <dd>{rule.effects[one]}</dd>
              </div>
            ))}
          </dl>
        </section>
      )}
      {rule.warnings.length > 0 && (
        <section className="card" aria-labelledby="warnings">
          <h2 id="warnings">{t("rule.warnings")}</h2>
          <ul className={`body ${own.plain}`}>
            {rule.warnings.map(({ path, reason }) => (
              <li key={path + reason} data-warning={path}>
                {reason} <code>{path.replace(/^document\.?/, "")}</code>
              </li>
            ))}
          </ul>
        </section>
      )}
    </div>
  );
}
