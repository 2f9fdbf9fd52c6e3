import { useTranslation } from "react-i18next";
import type { InstanceOut } from "../../api/types.gen";
import own from "./Instances.module.css";

/** What an instance waits for: events, and what it has asked for and is not done. */
export function Waits({ instance: { awaits, effects } }: { instance: InstanceOut }) {
  const { t } = useTranslation();
  if (awaits.length + effects.length === 0) return null;
  return (
    <section className="card" aria-labelledby="waits">
      <h2 id="waits">{t("instance.waitsFor")}</h2>
      <ul className={own.plain}>
        {awaits.map(({ type, property, key }) => (
          <li key={JSON.stringify([type, property, key])} data-awaits={type}>
            <span className="mono">{type}</span>{" "}
            {key !== null && (
              <span className="dim">
                {property ?? t("instance.source")} = {key}
              </span>
            )}
          </li>
        ))}
        {effects.map(({ id, kind, status, attempts, error }) => (
          <li key={id} data-effect={kind} data-status={status}>
            <span className="mono">{kind}</span> <span className="dim">{t(`rule.effect.${status}`)}</span>
            {attempts > 1 && <span className="dim"> {t("instance.attempt", { attempt: attempts })}</span>}
            {error && <div className={own.failed}>{error}</div>}
          </li>
        ))}
      </ul>
    </section>
  );
}

/** What an instance knows, and what it gave in the end. */
export function Variables({ instance: { variables, output } }: { instance: InstanceOut }) {
  const { t } = useTranslation();
  const told = Object.entries(variables);
  return (
    <>
      <section className="card" aria-labelledby="variables">
        <h2 id="variables">{t("instance.variables")}</h2>
        <dl className={own.values}>
          {told.map(([name, value]) => (
            <div key={name} data-variable={name}>
              <dt>{name}</dt>
              <dd>
                <pre>{JSON.stringify(value, null, 2)}</pre>
              </dd>
            </div>
          ))}
        </dl>
      </section>
      {output !== null && output !== undefined && (
        <section className="card" aria-labelledby="output">
          <h2 id="output">{t("instance.output")}</h2>
          <div className={own.values}>
            <pre>{JSON.stringify(output, null, 2)}</pre>
          </div>
        </section>
      )}
    </>
  );
}
