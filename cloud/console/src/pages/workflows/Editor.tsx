import { Button } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { deployWorkflowMutation } from "../../api/@tanstack/react-query.gen";
import { checkWorkflow, validateWorkflow } from "../../api/sdk.gen";
import type { Graph, WorkflowCheck, WorkflowOut, WorkflowValidated } from "../../api/types.gen";
import styles from "../../components/Document.module.css";
import { DocumentEditor, SameVersion, useChecked } from "../../components/DocumentEditor";
import type { Document } from "../../components/documents";
import { Empty } from "../../components/Empty";
import pages from "../../components/Page.module.css";
import { ProblemNote } from "../../components/ProblemNote";
import { problemOf } from "../../problems";
import { written } from "./document";
import { Picture } from "./Picture";
import own from "./Workflows.module.css";

const CHANGED_MEANWHILE = 412;

type EditorProps = {
  title: string;
  text: string;
  onChange: (text: string) => void;
  /** The workflow whose document it is; without one it is a new workflow. */
  workflow?: WorkflowOut;
  onDeployed: (id: string) => void;
  onCancel?: () => void;
  mayChange: boolean;
};

/** A workflow's document, held against the cloud as it is typed, with its picture, and the way to deploy it. */
export function Editor({ title, text, onChange, workflow, onDeployed, onCancel, mayChange }: EditorProps) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const checked = useChecked(text, "workflow", validated);
  const { document, told, isValid } = checked;
  const deploy = useMutation({
    ...deployWorkflowMutation(),
    onSuccess: (deployed) => {
      for (const one of ["listWorkflows", "showWorkflow", "showWorkflowGraph"]) void client.invalidateQueries({ queryKey: [{ _id: one }] });
      onDeployed(deployed.id);
    },
  });
  const isSameVersion = workflow !== undefined && document !== undefined && saysOtherwise(workflow, document);

  const submit = () => {
    if (document === undefined) return;
    deploy.mutate({ path: { workflow_id: workflow?.id ?? String(document.id) }, body: { document }, headers: { "if-match": `"${workflow?.revision ?? 0}"` } });
  };
  const readAgain = () => {
    deploy.reset();
    void client.invalidateQueries({ queryKey: [{ _id: "showWorkflow" }] });
  };
  return (
    <div className={own.pair}>
      <section className="card" aria-labelledby="editor">
        <h2 id="editor">{title}</h2>
        <DocumentEditor text={text} label={t("workflow.document")} fine={t("workflow.valid")} isReadOnly={!mayChange} checked={checked} onChange={onChange}>
          {mayChange && isSameVersion && <SameVersion text={text} version={workflow.version} versions={workflow.versions.map((one) => one.version)} onChange={onChange} />}
          {workflow && document && isValid && <Check workflow={workflow.id} document={document} />}
          <ProblemNote error={deploy.error} onRetry={problemOf(deploy.error)?.status === CHANGED_MEANWHILE ? readAgain : undefined} />
          {mayChange && (
            <div className={styles.row}>
              <Button size="xs" disabled={!isValid} loading={deploy.isPending} onClick={submit}>
                {t("document.deploy")}
              </Button>
              {onCancel && (
                <Button size="xs" variant="default" onClick={onCancel}>
                  {t("form.cancel")}
                </Button>
              )}
              <span className="dim small">{t("workflow.deployMeaning")}</span>
            </div>
          )}
          {!mayChange && <p className="dim small">{t("workflow.viewer")}</p>}
        </DocumentEditor>
      </section>
      <Draft graph={told?.graph ?? undefined} />
    </div>
  );
}

/** The picture of what is typed; while it has faults, the one that it had before. */
function Draft({ graph }: { graph?: Graph }) {
  const { t } = useTranslation();
  const [drawn, setDrawn] = useState(graph);
  if (graph && graph !== drawn) setDrawn(graph);
  return (
    <section className={`card ${own.draft}`} aria-labelledby="draft">
      <h2 id="draft">{t("workflow.view.picture")}</h2>
      {drawn ? <Picture graph={drawn} shown={{ counts: {} }} label={t("workflow.pictureOf", { workflow: drawn.workflow })} /> : <Empty title={t("workflow.noPicture")} />}
    </section>
  );
}

/** Which running instances could not go on under what is typed, and where: they go on under their own version. */
function Check({ workflow, document }: { workflow: string; document: Document }) {
  const { t } = useTranslation();
  const found = useQuery({
    queryKey: ["check workflow", workflow, document],
    queryFn: () => compared(workflow, document),
    retry: false, // another id is refused, and the way to deploy it says so
    staleTime: 5_000,
    gcTime: 0,
  });
  if (!found.data) return <ProblemNote error={found.error} />;
  const { checked, complete, items } = found.data;
  if (checked === 0) return null;
  const told = { checked, count: items.length };
  return (
    <div role="status" data-breaks={items.length}>
      {items.length === 0 ? t("workflow.breaksNone", told) : t("workflow.breaks", told)}
      {!complete && <span className="dim"> {t("workflow.notAllChecked")}</span>}
      <ul className={styles.faults}>
        {items.map(({ instance, version, breaks }) => (
          <li key={instance}>
            <Link to="/instances/$instance" params={{ instance }} className={pages.inText}>
              {instance}
            </Link>{" "}
            <span className="dim">{version}</span> {breaks.map(({ state, reason }) => `${state} ${reason}`).join("; ")}
          </li>
        ))}
      </ul>
    </div>
  );
}

async function validated(document: Document): Promise<WorkflowValidated> {
  const { data } = await validateWorkflow({ body: { document }, throwOnError: true });
  return data;
}

async function compared(workflow: string, document: Document): Promise<WorkflowCheck> {
  const { data } = await checkWorkflow({ path: { workflow_id: workflow }, body: { document }, throwOnError: true });
  return data;
}

/** Whether a document says something else than the version of its name that is deployed, which never changes. */
function saysOtherwise(workflow: WorkflowOut, document: Document): boolean {
  const version = document.version ?? "1.0.0";
  return version === workflow.version && written(document) !== written(workflow.document);
}
