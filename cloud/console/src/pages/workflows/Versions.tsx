import { Button } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { deployWorkflow, showWorkflow } from "../../api/sdk.gen";
import type { WorkflowOut } from "../../api/types.gen";
import { Differences } from "../../components/Differences";
import type { Document } from "../../components/documents";
import styles from "../../components/Page.module.css";
import { ProblemNote } from "../../components/ProblemNote";
import { Moment } from "../../components/Time";
import { Counts } from "../instances/Status";
import { written } from "./document";
import { Undeploy } from "./Undeploy";
import own from "./Workflows.module.css";

type VersionsProps = { workflow: WorkflowOut; mayChange: boolean };

/** All versions that are deployed: which of them starts instances, how many run each, and what makes two of them differ. */
export function Versions({ workflow, mayChange }: VersionsProps) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const putToWork = useMutation({
    mutationFn: async (version: string) =>
      deployWorkflow({
        path: { workflow_id: workflow.id },
        body: { document: await documentOf(workflow.id, version) },
        headers: { "if-match": `"${workflow.revision}"` },
        throwOnError: true,
      }),
    onSettled: () => {
      for (const one of ["listWorkflows", "showWorkflow", "showWorkflowGraph"]) void client.invalidateQueries({ queryKey: [{ _id: one }] });
    },
  });
  const names = workflow.versions.map((one) => one.version);
  return (
    <div className={styles.lists}>
      <ProblemNote error={putToWork.error} />
      <section className="card" aria-labelledby="versions">
        <h2 id="versions">{t("workflow.view.versions")}</h2>
        <table className="grid">
          <thead>
            <tr>
              <th>{t("type.version")}</th>
              <th className="wide-only">{t("document.deployedAt")}</th>
              <th>{t("workflow.view.instances")}</th>
              <th>
                <span className="visually-hidden">{t("workflow.change")}</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {workflow.versions.map(({ version, created, instances }) => (
              <tr key={version} data-version={version}>
                <td>
                  <Link to="/workflows/$workflow" params={{ workflow: workflow.id }} search={{ version }} className="name">
                    {version}
                  </Link>
                  {version === workflow.version && <div className="dim small">{t("workflow.atWork")}</div>}
                </td>
                <td className="wide-only">
                  <Moment ts={created} />
                </td>
                <td>
                  <div className={own.counts}>
                    <Counts counts={instances} />
                  </div>
                </td>
                <td className="num">
                  {mayChange && (
                    <div className={own.ways}>
                      {version !== workflow.version && (
                        <Button size="compact-xs" variant="default" loading={putToWork.isPending} onClick={() => putToWork.mutate(version)}>
                          {t("document.putToWork", { version })}
                        </Button>
                      )}
                      {names.length > 1 && <Undeploy workflow={workflow} version={version} />}
                    </div>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      {names.length > 1 ? <Differences of={`workflow ${workflow.id}`} versions={names.toReversed()} read={async (version) => written(await documentOf(workflow.id, version))} /> : <p className="dim">{t("document.oneVersion")}</p>}
    </div>
  );
}

async function documentOf(workflow: string, version: string): Promise<Document> {
  const { data } = await showWorkflow({ path: { workflow_id: workflow }, query: { version }, throwOnError: true });
  return data.document;
}
