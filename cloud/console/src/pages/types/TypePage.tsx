import { Select } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { listTypesOptions, showTypeOptions } from "../../api/@tanstack/react-query.gen";
import type { Definition } from "../../api/types.gen";
import { Empty } from "../../components/Empty";
import styles from "../../components/Page.module.css";
import { PageHead } from "../../components/PageHead";
import { ProblemNote } from "../../components/ProblemNote";
import { useTitle } from "../../components/useTitle";
import { Devices } from "./Devices";

const MOST_TYPES = 500;

const route = getRouteApi("/shell/types/$type");

/** A version of a type, which devices have the type, and what of them does not fit it. */
export function TypePage() {
  const { t } = useTranslation();
  const { type: id } = route.useParams();
  const { version } = route.useSearch();
  const navigate = useNavigate({ from: "/types/$type" });
  // The list, since a device may have a type that nobody has described, and to ask for that one would be refused.
  const types = useQuery(listTypesOptions({ query: { limit: MOST_TYPES } }));
  const newest = types.data?.items.find((one) => one.id === id);
  const isOld = newest !== undefined && version !== undefined && version !== newest.version;
  const old = useQuery({ ...showTypeOptions({ path: { type_id: id }, query: { version } }), enabled: isOld });
  const shown = isOld ? old.data : newest;
  useTitle(id);
  const versions = Array.from({ length: newest?.version ?? 0 }, (_, number) => String(number + 1)).toReversed();
  return (
    <>
      <PageHead
        back={
          <Link to="/types" className={styles.back}>
            {t("type.title")}
          </Link>
        }
        name={id}
      >
        <span className="dim grow">{shown?.definition.name}</span>
        {newest && (
          <Select
            size="xs"
            w={130}
            aria-label={t("type.version")}
            allowDeselect={false}
            value={String(version ?? newest.version)}
            data={versions.map((one) => ({ value: one, label: t("type.versionOf", { version: one }) }))}
            onChange={(wanted) => void navigate({ search: { version: Number(wanted) === newest.version ? undefined : Number(wanted) } })}
          />
        )}
      </PageHead>
      <ProblemNote error={types.error ?? old.error} onRetry={types.error ? types.refetch : undefined} />
      <div className={styles.lists}>
        {types.data && !newest && (
          <section className="card">
            <Empty title={t("type.undescribed")}>{t("type.undescribedWhy")}</Empty>
          </section>
        )}
        {shown && <Metrics metrics={shown.definition.metrics ?? {}} />}
        {shown && <CommandKinds commands={shown.definition.commands ?? {}} />}
        {shown?.definition.twin && (
          <section className="card" aria-labelledby="twin-schema">
            <h2 id="twin-schema">{t("twin.title")}</h2>
            <pre className="body mono schema">{JSON.stringify(shown.definition.twin, null, 2)}</pre>
          </section>
        )}
        <Devices type={id} />
      </div>
    </>
  );
}

function Metrics({ metrics }: { metrics: NonNullable<Definition["metrics"]> }) {
  const { t } = useTranslation();
  return (
    <section className="card" aria-labelledby="metrics">
      <h2 id="metrics">{t("type.metrics")}</h2>
      {Object.keys(metrics).length === 0 && <p className="body dim">{t("type.anyMetric")}</p>}
      {Object.keys(metrics).length > 0 && (
        <div className="scroll">
          <table className="grid">
            <thead>
              <tr>
                <th>{t("device.name")}</th>
                <th>{t("type.unit")}</th>
                <th>{t("type.range")}</th>
                <th>{t("type.period")}</th>
              </tr>
            </thead>
            <tbody>
              {Object.entries(metrics).map(([name, { unit, range, period }]) => (
                <tr key={name} data-metric={name}>
                  <td>{name}</td>
                  <td>{unit || "–"}</td>
                  <td>{range ? `${range.min ?? "−∞"} … ${range.max ?? "∞"}` : "–"}</td>
                  <td>{period ?? "–"}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function CommandKinds({ commands }: { commands: NonNullable<Definition["commands"]> }) {
  const { t } = useTranslation();
  return (
    <section className="card" aria-labelledby="command-kinds">
      <h2 id="command-kinds">{t("command.title")}</h2>
      {Object.keys(commands).length === 0 && <p className="body dim">{t("type.anyCommand")}</p>}
      {Object.entries(commands).map(([name, { description, parameters }]) => (
        <div key={name} className="body" data-command={name}>
          <b>{name}</b> <span className="dim">{description}</span>
          <pre className="mono schema">{JSON.stringify(parameters ?? {}, null, 2)}</pre>
        </div>
      ))}
    </section>
  );
}
