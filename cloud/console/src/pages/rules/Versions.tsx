import { Button } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { showRule } from "../../api/sdk.gen";
import type { RuleShown } from "../../api/types.gen";
import { Differences } from "../../components/Differences";
import styles from "../../components/Page.module.css";
import { ProblemNote } from "../../components/ProblemNote";
import { Moment } from "../../components/Time";
import { written } from "./document";
import { Mode } from "./Mode";
import { useActivation } from "./useActivation";

/** All versions of a rule: which is at work, and what makes two of them differ. */
export function Versions({ rule, mayChange }: { rule: RuleShown; mayChange: boolean }) {
  const { t } = useTranslation();
  const activation = useActivation(rule);
  const names = rule.versions.map((one) => one.version);
  return (
    <div className={styles.lists}>
      <ProblemNote error={activation.error} />
      <section className="card" aria-labelledby="versions">
        <h2 id="versions">{t("rule.view.versions")}</h2>
        <table className="grid">
          <thead>
            <tr>
              <th>{t("type.version")}</th>
              <th>{t("document.deployedAt")}</th>
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
                      {t("document.putToWork", { version })}
                    </Button>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      {names.length > 1 ? <Differences of={`rule ${rule.id}`} versions={names} read={(version) => textOf(rule.id, version)} /> : <p className="dim">{t("document.oneVersion")}</p>}
    </div>
  );
}

async function textOf(rule: string, version: string): Promise<string> {
  const { data } = await showRule({ path: { rule_id: rule }, query: { version }, throwOnError: true });
  return written(data.document);
}
