import { Select } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { CodeDiff } from "./CodeDiff";
import styles from "./Differences.module.css";
import { ProblemNote } from "./ProblemNote";

type DifferencesProps = {
  /** What the versions are of. */
  of: string;
  /** The versions that can be chosen, the oldest first. */
  versions: string[];
  read: (version: string) => Promise<string>;
};

/** What makes two versions of a document differ; a version never changes. */
export function Differences({ of, versions, read }: DifferencesProps) {
  const { t } = useTranslation();
  const [left, setLeft] = useState(versions.at(-2) ?? "");
  const [right, setRight] = useState(versions.at(-1) ?? "");
  const asked = (version: string) => ({ queryKey: ["document", of, version], queryFn: () => read(version) });
  const one = useQuery(asked(left));
  const other = useQuery(asked(right));
  return (
    <section className="card" aria-labelledby="differences">
      <header>
        <h2 id="differences" className="grow">
          {t("document.differences")}
        </h2>
        <Choice label={t("document.left")} value={left} names={versions} onChange={setLeft} />
        <span aria-hidden="true">→</span>
        <Choice label={t("document.right")} value={right} names={versions} onChange={setRight} />
      </header>
      <ProblemNote error={one.error ?? other.error} onRetry={one.error ? one.refetch : other.refetch} />
      {one.data !== undefined && other.data !== undefined && (
        <div className={styles.diff}>
          <CodeDiff left={{ text: one.data, label: t("type.versionOf", { version: left }) }} right={{ text: other.data, label: t("type.versionOf", { version: right }) }} />
        </div>
      )}
    </section>
  );
}

type ChoiceProps = { label: string; value: string; names: string[]; onChange: (name: string) => void };

function Choice({ label, value, names, onChange }: ChoiceProps) {
  return <Select size="xs" w={120} aria-label={label} allowDeselect={false} value={value} data={names} onChange={(wanted) => wanted && onChange(wanted)} />;
}
