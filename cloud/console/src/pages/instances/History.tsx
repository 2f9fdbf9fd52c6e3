import { useTranslation } from "react-i18next";
import type { ActionDone, InstanceRecord } from "../../api/types.gen";
import { More } from "../../components/Rows";
import { Moment } from "../../components/Time";
import { Values } from "../../components/Values";
import own from "./Instances.module.css";

const MINUTE_MS = 60_000;

type HistoryProps = { history: InstanceRecord[]; query: Parameters<typeof More>[0]["query"] };

/** All that has become of an instance: each time that it left a state, with what it did there and how long it took. */
export function History({ history, query }: HistoryProps) {
  const { t } = useTranslation();
  return (
    <section className="card" aria-labelledby="history">
      <h2 id="history">{t("instance.history")}</h2>
      <table className="grid">
        <thead>
          <tr>
            <th className={`wide-only ${own.narrow}`}>{t("instance.number")}</th>
            <th className={own.narrow}>{t("telemetry.time")}</th>
            <th>{t("instance.what")}</th>
          </tr>
        </thead>
        <tbody>
          {history.map((record) => (
            <Row key={record.number} record={record} />
          ))}
        </tbody>
      </table>
      <More query={query} />
    </section>
  );
}

function Row({ record }: { record: InstanceRecord }) {
  const { t, i18n } = useTranslation();
  const { number, kind, at, state, took_ms: took, attempt, outcome, actions, next, variables, failure, reason, again_at: again, output } = record;
  return (
    <tr data-record={number} data-kind={kind} data-outcome={outcome}>
      <td className="wide-only top dim">{number}</td>
      <td className="top">
        <Moment ts={at} />
        {took !== null && <div className="dim small nowrap">{t("instance.took", { took: shownDuration(took, i18n.language) })}</div>}
      </td>
      <td className={own.record}>
        <div className={own.head}>
          {kind !== "state" && <span>{t(`instance.kind.${kind}`)}</span>}
          {state && <b>{state}</b>}
          {(kind === "state" || outcome !== "succeeded") && (
            <span className={outcome === "failed" ? own.failed : "dim"}>{t(`instance.outcome.${outcome}`)}</span>
          )}
          {attempt > 1 && <span className="dim">{t("instance.attempt", { attempt })}</span>}
          {next && <span className="dim">→ {next}</span>}
          {again && (
            <span className="dim">
              {t("instance.again")} <Moment ts={again} />
            </span>
          )}
        </div>
        {failure && (
          <div className={own.failed}>
            <code>{failure.kind}</code> {failure.message}
          </div>
        )}
        {reason && <q>{reason}</q>}
        {actions.length > 0 && (
          <ul className={own.actions}>
            {actions.map((action) => (
              <Action key={action.id} action={action} />
            ))}
          </ul>
        )}
        <Values values={failure === null ? variables : withoutFailure(variables)} />
        {output !== null && <Values values={{ [t("instance.output")]: output }} />}
      </td>
    </tr>
  );
}

/** A failure is told by itself, and set as variables too. */
function withoutFailure(variables: InstanceRecord["variables"]) {
  return Object.fromEntries(Object.entries(variables).filter(([name]) => name !== "error" && name !== "failure"));
}

/** What an action came to. */
function Action({ action: { kind, succeeded, result, error } }: { action: ActionDone }) {
  const { t } = useTranslation();
  return (
    <li className="small" data-action={kind} data-succeeded={succeeded}>
      <span className="mono">{kind}</span>{" "}
      <span className={succeeded ? "dim" : own.failed}>
        {succeeded ? t("instance.outcome.succeeded") : t("instance.outcome.failed")}
        {error && `: ${error}`}
      </span>
      {result !== null && result !== undefined && <code className={own.result}>{JSON.stringify(result)}</code>}
    </li>
  );
}

/** A duration as people tell it: to the millisecond below a minute, in whole seconds above. */
function shownDuration(ms: number, language: string): string {
  const parts = ms < MINUTE_MS ? { seconds: Math.floor(ms / 1000), milliseconds: ms % 1000 } : { hours: Math.floor(ms / 3_600_000), minutes: Math.floor(ms / MINUTE_MS) % 60, seconds: Math.floor(ms / 1000) % 60 };
  return ms === 0 ? "0 ms" : new Intl.DurationFormat(language, { style: "narrow" }).format(parts);
}
