import type { Diagnostic } from "@codemirror/lint";
import { Button, SegmentedControl } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { deployRuleMutation } from "../../api/@tanstack/react-query.gen";
import { validateRule } from "../../api/sdk.gen";
import type { RuleShown, Validated } from "../../api/types.gen";
import { CodeEditor } from "../../components/CodeEditor";
import marks from "../../components/marks.module.css";
import { ProblemNote } from "../../components/ProblemNote";
import { problemOf } from "../../problems";
import { type Mark, markOf, nextVersion, read, type RuleDocument, withVersion, written } from "./document";
import styles from "./Rules.module.css";

const PAUSE_MS = 400;
const CHANGED_MEANWHILE = 412;

type EditorProps = {
  text: string;
  onChange: (text: string) => void;
  /** The rule whose document it is; without one it is a new rule. */
  rule?: RuleShown;
  onDeployed: (id: string) => void;
  onCancel?: () => void;
  mayChange: boolean;
};

/** A rule's document, held against the cloud as it is typed, and the way to deploy it. */
export function Editor({ text, onChange, rule, onDeployed, onCancel, mayChange }: EditorProps) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const [mode, setMode] = useState<RuleShown["mode"]>(rule?.mode ?? "shadow");
  const [seen] = useDebouncedValue(text, PAUSE_MS);
  const isBehind = seen !== text;
  const told = useMemo(() => read(seen), [seen]);
  const checked = useQuery({
    queryKey: ["validate rule", told.document],
    queryFn: () => validated(told.document ?? {}),
    enabled: told.document !== undefined,
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0,
  });
  const deploy = useMutation({
    ...deployRuleMutation(),
    onSuccess: (deployed) => {
      for (const one of ["listRules", "showRule"]) void client.invalidateQueries({ queryKey: [{ _id: one }] });
      onDeployed(deployed.id);
    },
  });
  const shown = useMemo(() => marksOf(seen, told.marks, checked.data), [seen, told.marks, checked.data]);
  const isValid = !isBehind && told.document !== undefined && checked.data?.valid === true;
  const isSameVersion = rule !== undefined && told.document !== undefined && saysOtherwise(rule, told.document);

  const submit = () => {
    const document = told.document;
    if (document === undefined) return;
    deploy.mutate({ path: { rule_id: rule?.id ?? String(document.id) }, body: { document, mode }, headers: { "if-match": `"${rule?.revision ?? 0}"` } });
  };
  const readAgain = () => {
    deploy.reset();
    void client.invalidateQueries({ queryKey: [{ _id: "showRule" }] });
  };
  return (
    <>
      <CodeEditor text={text} label={t("rule.document")} isReadOnly={!mayChange} marks={shown} onChange={onChange} />
      <div className={styles.form}>
        <Verdict isBusy={isBehind || checked.isFetching} isYaml={told.document !== undefined} marks={told.marks.map((mark) => mark.message)} told={checked.data} />
        <ProblemNote error={checked.error} onRetry={checked.refetch} />
        {mayChange && isSameVersion && (
          <div>
            {t("rule.sameVersion", { version: rule.version })}{" "}
            <Button size="compact-xs" variant="default" onClick={() => onChange(withVersion(text, nextVersion(rule.versions.map((one) => one.version))))}>
              {t("rule.raiseVersion")}
            </Button>
          </div>
        )}
        <ProblemNote error={deploy.error} onRetry={problemOf(deploy.error)?.status === CHANGED_MEANWHILE ? readAgain : undefined} />
        {mayChange && (
          <div className={styles.row}>
            <SegmentedControl
              size="xs"
              aria-label={t("rule.modeOf")}
              value={mode}
              onChange={(wanted) => setMode(wanted as RuleShown["mode"])}
              data={[
                { value: "shadow", label: t("rule.inShadow") },
                { value: "active", label: t("rule.asActive") },
              ]}
            />
            <Button size="xs" disabled={!isValid} loading={deploy.isPending} onClick={submit}>
              {t("rule.deploy")}
            </Button>
            {onCancel && (
              <Button size="xs" variant="default" onClick={onCancel}>
                {t("form.cancel")}
              </Button>
            )}
            <span className="dim small">{mode === "shadow" ? t("rule.shadowMeaning") : t("rule.activeMeaning")}</span>
          </div>
        )}
        {!mayChange && <p className="dim small">{t("rule.viewer")}</p>}
      </div>
    </>
  );
}

type VerdictProps = { isBusy: boolean; isYaml: boolean; marks: string[]; told: Validated | undefined };

/** What the cloud thinks of a document, fault by fault. */
function Verdict({ isBusy, isYaml, marks: wrong, told }: VerdictProps) {
  const { t } = useTranslation();
  if (!isYaml) {
    return (
      <div role="status" data-verdict="faults">
        <span className={marks.mark}>
          <span className={marks.dot} data-tone="bad" />
          {t("rule.noYaml")}
        </span>
        <ul className={styles.faults}>
          {wrong.map((message) => (
            <li key={message}>{message}</li>
          ))}
        </ul>
      </div>
    );
  }
  const faults = told?.errors ?? [];
  const isGood = told?.valid === true;
  return (
    <div role="status" data-verdict={isBusy || !told ? "busy" : isGood ? "valid" : "faults"}>
      <span className={marks.mark}>
        <span className={marks.dot} data-tone={isBusy || !told ? undefined : isGood ? "good" : "bad"} data-pulse={isBusy || undefined} />
        {isBusy || !told ? t("rule.checking") : isGood ? t("rule.valid") : t("rule.faults", { number: faults.length })}
      </span>
      {!isBusy && (
        <ul className={styles.faults}>
          {faults.map(({ path, reason }) => (
            <li key={path + reason} data-fault={path}>
              <code>{path.replace(/^document\.?/, "")}</code> {reason}
            </li>
          ))}
          {told?.warnings.map(({ path, reason }) => (
            <li key={path + reason} data-warning={path}>
              <code>{path.replace(/^document\.?/, "")}</code> {reason}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

async function validated(document: RuleDocument): Promise<Validated> {
  const { data } = await validateRule({ body: { document }, throwOnError: true });
  return data;
}

function marksOf(text: string, wrong: Mark[], told: Validated | undefined): Diagnostic[] {
  const at = ({ path, reason }: { path: string; reason: string }) => markOf(text, path, reason);
  const errors = [...wrong, ...(told?.errors.map(at) ?? [])];
  const warnings = told?.warnings.map(at) ?? [];
  return [
    ...errors.map(({ from, to, message }) => ({ from, to, message, severity: "error" as const })),
    ...warnings.map(({ from, to, message }) => ({ from, to, message, severity: "warning" as const })),
  ];
}

/** Whether a document says something else than the version of its name that is at work, which never changes. */
function saysOtherwise(rule: RuleShown, document: RuleDocument): boolean {
  const version = document.version ?? "1.0.0";
  return version === rule.version && written(document) !== written(rule.document);
}
