import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { showTwinOptions } from "../../api/@tanstack/react-query.gen";
import { Empty } from "../../components/Empty";
import { ProblemNote } from "../../components/ProblemNote";
import { RowsComing } from "../../components/Rows";
import { useMayChange } from "../../components/useMayChange";
import { rowsOf } from "./settings";
import styles from "./Twin.module.css";
import { TwinEditor } from "./TwinEditor";

/** What is wanted of a device and what it says that it has, setting by setting. */
export function Twin({ device }: { device: string }) {
  const { t } = useTranslation();
  const { data, isPending, error, refetch } = useQuery(showTwinOptions({ path: { device_id: device } }));
  const [isEdited, setIsEdited] = useState(false);
  const mayChange = useMayChange();
  const rows = data ? rowsOf(data) : [];
  return (
    <section className="card" aria-labelledby="twin">
      <header>
        <h2 id="twin" className="grow">
          {t("twin.title")}
        </h2>
        {mayChange && data && !isEdited && (
          <Button size="compact-xs" variant="default" onClick={() => setIsEdited(true)}>
            {t("twin.change")}
          </Button>
        )}
      </header>
      {isEdited && <TwinEditor device={device} onDone={() => setIsEdited(false)} />}
      <ProblemNote error={error} onRetry={refetch} />
      {data && data.pending.length > 0 && <p className="body dim">{t("twin.pending", { number: data.pending.length })}</p>}
      {data && rows.length === 0 ? (
        <Empty title={t("twin.empty")} />
      ) : (
        <div className="scroll">
          <table className="grid">
            <thead>
              <tr>
                <th>{t("twin.setting")}</th>
                <th>{t("twin.desired", { version: data?.version ?? 0 })}</th>
                <th>{t("twin.reported", { version: data?.reported_version ?? 0 })}</th>
              </tr>
            </thead>
            <tbody>
              {isPending && <RowsComing columns={3} rows={2} />}
              {rows.map(({ path, desired, reported, refused, isMissing }) => (
                <tr key={path} data-setting={path} data-missing={isMissing}>
                  <td className={`mono top ${styles.text}`}>{path}</td>
                  <td className={`mono top ${styles.text}`}>{desired}</td>
                  <td className={`top ${styles.text}`}>
                    <span className="mono">{reported}</span>
                    {refused && <div className={styles.refused}>{refused}</div>}
                    {isMissing && !refused && <div className="dim small">{t("twin.missing")}</div>}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}
