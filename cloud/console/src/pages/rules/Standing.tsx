import { useTranslation } from "react-i18next";
import type { AtGateway, RuleShown } from "../../api/types.gen";
import { Empty } from "../../components/Empty";
import marks from "../../components/marks.module.css";
import styles from "../../components/Page.module.css";
import { Moment } from "../../components/Time";
import own from "./Rules.module.css";

const TONES = { applied: "good", sent: "warn", refused: "bad" } as const;
const OUTCOMES = ["done", "sent", "waiting", "failed", "withheld"] as const;

/** How a rule stands: what gateways made of it, what its actions came to, and who else writes what it writes. */
export function Standing({ rule }: { rule: RuleShown }) {
  const { t } = useTranslation();
  const outcomes = OUTCOMES.filter((one) => rule.effects[one]);
  return (
    <div className={styles.lists}>
      <section className="card" aria-labelledby="gateways">
        <h2 id="gateways">{t("rule.gateways")}</h2>
        {rule.gateways.length === 0 && <Empty title={rule.placement === "cloud" ? t("rule.cloudAlone") : t("rule.noGateway")} />}
        {rule.gateways.length > 0 && (
          <table className="grid">
            <tbody>
              {rule.gateways.map((one) => (
                <Gateway key={one.gateway} told={one} />
              ))}
            </tbody>
          </table>
        )}
      </section>
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

function Gateway({ told }: { told: AtGateway }) {
  const { t } = useTranslation();
  return (
    <tr data-gateway={told.gateway} data-status={told.status}>
      <td>
        <b>{told.gateway}</b>
        {told.faults.map(({ path, reason }) => (
          <div key={path + reason} className="small">
            <code>{path}</code> {reason}
          </div>
        ))}
        {told.applied !== null && told.applied !== told.version && <div className="dim small">{t("rule.stillRuns", { version: told.applied })}</div>}
      </td>
      <td>
        <span className={marks.mark}>
          <span className={marks.dot} data-tone={TONES[told.status]} />
          {t(`rule.atGateway.${told.status}`)} {told.version}
        </span>
        {told.at !== null && (
          <div className="dim small">
            <Moment ts={told.at} />
          </div>
        )}
      </td>
    </tr>
  );
}
