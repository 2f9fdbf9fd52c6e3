import { useTranslation } from "react-i18next";
import type { AtGateway, WorkflowAtGateway } from "../api/types.gen";
import { Empty } from "./Empty";
import marks from "./marks.module.css";
import { Moment } from "./Time";

type Told = AtGateway | WorkflowAtGateway;

const TONES = { applied: "good", sent: "warn", refused: "bad" } as const;

/** What gateways made of a rule or a workflow that the cloud has sent them; `nobody` says why it was sent to none. */
export function AtGateways({ told, nobody }: { told: Told[]; nobody: string }) {
  const { t } = useTranslation();
  return (
    <section className="card" aria-labelledby="gateways">
      <h2 id="gateways">{t("rule.gateways")}</h2>
      {told.length === 0 && <Empty title={nobody} />}
      {told.length > 0 && (
        <table className="grid">
          <tbody>
            {told.map((one) => (
              <Gateway key={one.gateway} told={one} />
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

function Gateway({ told }: { told: Told }) {
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
