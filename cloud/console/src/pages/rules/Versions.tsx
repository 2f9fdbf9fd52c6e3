import { Button, Select } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { showRuleOptions } from "../../api/@tanstack/react-query.gen";
import type { RuleShown } from "../../api/types.gen";
import { CodeDiff } from "../../components/CodeDiff";
import styles from "../../components/Page.module.css";
import { ProblemNote } from "../../components/ProblemNote";
import { Moment } from "../../components/Time";
import { written } from "./document";
import { Mode } from "./Mode";
import own from "./Rules.module.css";
import { useActivation } from "./useActivation";

/** All versions of a rule: which is at work, and what makes two of them differ. */
export function Versions({ rule, mayChange }: { rule: RuleShown; mayChange: boolean }) {
  const { t } = useTranslation();
  const activation = useActivation(rule);
  return (
    <div className={styles.lists}>
      <ProblemNote error={activation.error} />
      <section className="card" aria-labelledby="versions">
        <h2 id="versions">{t("rule.view.versions")}</h2>
        <table className="grid">
          <thead>
            <tr>
              <th>{t("type.version")}</th>
              <th>{t("rule.deployedAt")}</th>
              <th>{t("rule.modeOf")}</th>
            </tr>
          </thead>
          <tbody>
            {rule.versions.toReversed().map(({ version, created }) => (
              <tr key={version} data-version={version}>
                <td>{version}</td>
                <td>
                  <Moment ts={created} />
                </td>
                <td>
                  {version === rule.version && <Mode mode={rule.mode} />}
                  {version !== rule.version && mayChange && (
                    <Button size="compact-xs" variant="default" loading={activation.isPending} onClick={() => activation.put(version, rule.mode)}>
                      {t("rule.putToWork", { version })}
                    </Button>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      {rule.versions.length > 1 ? <Differences rule={rule} /> : <p className="dim">{t("rule.oneVersion")}</p>}
    </div>
  );
}

function Differences({ rule }: { rule: RuleShown }) {
  const { t } = useTranslation();
  const names = rule.versions.map((one) => one.version);
  const [left, setLeft] = useState(names.at(-2) ?? rule.version);
  const [right, setRight] = useState(names.at(-1) ?? rule.version);
  const one = useQuery(showRuleOptions({ path: { rule_id: rule.id }, query: { version: left } }));
  const other = useQuery(showRuleOptions({ path: { rule_id: rule.id }, query: { version: right } }));
  return (
    <section className="card" aria-labelledby="differences">
      <header>
        <h2 id="differences" className="grow">
          {t("rule.differences")}
        </h2>
        <Choice label={t("rule.left")} value={left} names={names} onChange={setLeft} />
        <span aria-hidden="true">→</span>
        <Choice label={t("rule.right")} value={right} names={names} onChange={setRight} />
      </header>
      <ProblemNote error={one.error ?? other.error} onRetry={one.error ? one.refetch : other.refetch} />
      {one.data && other.data && (
        <div className={own.diff}>
          <CodeDiff left={{ text: written(one.data.document), label: t("type.versionOf", { version: left }) }} right={{ text: written(other.data.document), label: t("type.versionOf", { version: right }) }} />
        </div>
      )}
    </section>
  );
}

type ChoiceProps = { label: string; value: string; names: string[]; onChange: (name: string) => void };

function Choice({ label, value, names, onChange }: ChoiceProps) {
  return <Select size="xs" w={120} aria-label={label} allowDeselect={false} value={value} data={names} onChange={(wanted) => wanted && onChange(wanted)} />;
}
