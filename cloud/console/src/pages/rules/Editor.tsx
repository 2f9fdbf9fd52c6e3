import { Button, SegmentedControl } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { deployRuleMutation } from "../../api/@tanstack/react-query.gen";
import { validateRule } from "../../api/sdk.gen";
import type { RuleShown, Validated } from "../../api/types.gen";
import styles from "../../components/Document.module.css";
import { DocumentEditor, SameVersion, useChecked } from "../../components/DocumentEditor";
import type { Document } from "../../components/documents";
import { ProblemNote } from "../../components/ProblemNote";
import { problemOf } from "../../problems";
import { written } from "./document";

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
  const checked = useChecked(text, "rule", validated);
  const { document, isValid } = checked;
  const deploy = useMutation({
    ...deployRuleMutation(),
    onSuccess: (deployed) => {
      for (const one of ["listRules", "showRule"]) void client.invalidateQueries({ queryKey: [{ _id: one }] });
      onDeployed(deployed.id);
    },
  });
  const isSameVersion = rule !== undefined && document !== undefined && saysOtherwise(rule, document);

  const submit = () => {
    if (document === undefined) return;
    deploy.mutate({ path: { rule_id: rule?.id ?? String(document.id) }, body: { document, mode }, headers: { "if-match": `"${rule?.revision ?? 0}"` } });
  };
  const readAgain = () => {
    deploy.reset();
    void client.invalidateQueries({ queryKey: [{ _id: "showRule" }] });
  };
  return (
    <DocumentEditor text={text} label={t("rule.document")} fine={t("rule.valid")} isReadOnly={!mayChange} checked={checked} onChange={onChange}>
      {mayChange && isSameVersion && <SameVersion text={text} version={rule.version} versions={rule.versions.map((one) => one.version)} onChange={onChange} />}
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
            {t("document.deploy")}
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
    </DocumentEditor>
  );
}

async function validated(document: Document): Promise<Validated> {
  const { data } = await validateRule({ body: { document }, throwOnError: true });
  return data;
}

/** Whether a document says something else than the version of its name that is at work, which never changes. */
function saysOtherwise(rule: RuleShown, document: Document): boolean {
  const version = document.version ?? "1.0.0";
  return version === rule.version && written(document) !== written(rule.document);
}
