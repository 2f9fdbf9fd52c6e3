import type { Diagnostic } from "@codemirror/lint";
import { Button } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useMemo } from "react";
import { useTranslation } from "react-i18next";
import { CodeEditor } from "./CodeEditor";
import styles from "./Document.module.css";
import { type Document, type Mark, markOf, nextVersion, read, withVersion } from "./documents";
import marks from "./marks.module.css";
import { ProblemNote } from "./ProblemNote";

const PAUSE_MS = 400;

type Finding = { path: string; reason: string };

/** What the cloud thinks of a document, fault by fault. */
type Verdict = { valid: boolean; errors: Finding[]; warnings: Finding[] };

/** Holds a text against the cloud, a moment after it was typed. */
export function useChecked<V extends Verdict>(text: string, kind: string, validate: (document: Document) => Promise<V>) {
  const [seen] = useDebouncedValue(text, PAUSE_MS);
  const isBehind = seen !== text;
  const { document, marks: wrong } = useMemo(() => read(seen), [seen]);
  const { data, error, isFetching, refetch } = useQuery({
    queryKey: ["validate", kind, document],
    queryFn: () => validate(document ?? {}),
    enabled: document !== undefined,
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0,
  });
  const shown = useMemo(() => marksOf(seen, wrong, data), [seen, wrong, data]);
  const isValid = !isBehind && document !== undefined && data?.valid === true;
  return { document, wrong, told: data, marks: shown, isBusy: isBehind || isFetching, isValid, error, refetch };
}

type DocumentEditorProps = {
  text: string;
  label: string;
  /** What is said of one without faults. */
  fine: string;
  isReadOnly: boolean;
  checked: ReturnType<typeof useChecked>;
  onChange: (text: string) => void;
  children: ReactNode;
};

/** A document that is edited, with what the cloud thinks of it. */
export function DocumentEditor({ text, label, fine, isReadOnly, checked, onChange, children }: DocumentEditorProps) {
  const { document, wrong, told, isBusy } = checked;
  return (
    <>
      <CodeEditor text={text} label={label} isReadOnly={isReadOnly} marks={checked.marks} onChange={onChange} />
      <div className={styles.form}>
        {document === undefined ? <NoYaml wrong={wrong} /> : <VerdictNote told={told} isBusy={isBusy} fine={fine} />}
        <ProblemNote error={checked.error} onRetry={checked.refetch} />
        {children}
      </div>
    </>
  );
}

function NoYaml({ wrong }: { wrong: Mark[] }) {
  const { t } = useTranslation();
  return (
    <div role="status" data-verdict="faults">
      <span className={marks.mark}>
        <span className={marks.dot} data-tone="bad" />
        {t("document.noYaml")}
      </span>
      <ul className={styles.faults}>
        {wrong.map(({ message }) => (
          <li key={message}>{message}</li>
        ))}
      </ul>
    </div>
  );
}

function VerdictNote({ told, isBusy, fine }: { told?: Verdict; isBusy: boolean; fine: string }) {
  const { t } = useTranslation();
  const faults = told?.errors ?? [];
  const isGood = told?.valid === true;
  return (
    <div role="status" data-verdict={isBusy || !told ? "busy" : isGood ? "valid" : "faults"}>
      <span className={marks.mark}>
        <span className={marks.dot} data-tone={isBusy || !told ? undefined : isGood ? "good" : "bad"} data-pulse={isBusy || undefined} />
        {isBusy || !told ? t("document.checking") : isGood ? fine : t("document.faults", { number: faults.length })}
      </span>
      {!isBusy && (
        <ul className={styles.faults}>
          {faults.map(({ path, reason }) => (
            <li key={path + reason} data-fault={path}>
              <code>{within(path)}</code> {reason}
            </li>
          ))}
          {told?.warnings.map(({ path, reason }) => (
            <li key={path + reason} data-warning={path}>
              <code>{within(path)}</code> {reason}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

type SameVersionProps = { text: string; version: string; versions: string[]; onChange: (text: string) => void };

/** Tells that a version is deployed already, and writes the next one. */
export function SameVersion({ text, version, versions, onChange }: SameVersionProps) {
  const { t } = useTranslation();
  return (
    <div>
      {t("document.sameVersion", { version })}{" "}
      <Button size="compact-xs" variant="default" onClick={() => onChange(withVersion(text, nextVersion(versions)))}>
        {t("document.raiseVersion")}
      </Button>
    </div>
  );
}

function marksOf(text: string, wrong: Mark[], told: Verdict | undefined): Diagnostic[] {
  const at = ({ path, reason }: Finding) => markOf(text, path, reason);
  const errors = [...wrong, ...(told?.errors.map(at) ?? [])];
  const warnings = told?.warnings.map(at) ?? [];
  return [
    ...errors.map(({ from, to, message }) => ({ from, to, message, severity: "error" as const })),
    ...warnings.map(({ from, to, message }) => ({ from, to, message, severity: "warning" as const })),
  ];
}

function within(path: string): string {
  return path.replace(/^document\.?/, "");
}
