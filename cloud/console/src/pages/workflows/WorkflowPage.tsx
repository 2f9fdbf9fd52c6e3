import { Select, Tabs } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { lazy, Suspense, useState } from "react";
import { useTranslation } from "react-i18next";
import { showWorkflowGraphOptions, showWorkflowOptions } from "../../api/@tanstack/react-query.gen";
import type { WorkflowOut } from "../../api/types.gen";
import { AtGateways } from "../../components/AtGateways";
import { Facts } from "../../components/Facts";
import styles from "../../components/Page.module.css";
import { PageHead } from "../../components/PageHead";
import { ProblemNote } from "../../components/ProblemNote";
import { Moment } from "../../components/Time";
import { useMayChange } from "../../components/useMayChange";
import { useTitle } from "../../components/useTitle";
import { Views } from "../../components/Views";
import { Instances } from "../instances/Instances";
import { written } from "./document";
import { Picture } from "./Picture";
import { StartForm } from "./StartForm";
import { Undeploy } from "./Undeploy";
import { type View, WORKFLOW_VIEWS } from "./views";
import own from "./Workflows.module.css";

const Editor = lazy(async () => ({ default: (await import("./Editor")).Editor }));
const Versions = lazy(async () => ({ default: (await import("./Versions")).Versions }));
const route = getRouteApi("/shell/workflows/$workflow");

/** A workflow: its picture with the instances in it, what it says, and the way to start it. */
export function WorkflowPage() {
  const { t } = useTranslation();
  const { workflow: id } = route.useParams();
  const [isGoing, setIsGoing] = useState(false);
  const mayChange = useMayChange();
  const workflow = useQuery({ ...showWorkflowOptions({ path: { workflow_id: id } }), enabled: !isGoing });
  useTitle(id);

  if (!workflow.data) return <ProblemNote error={workflow.error} onRetry={workflow.refetch} />;
  const { name, version, placement, updated, description } = workflow.data;
  return (
    <>
      <PageHead
        back={
          <Link to="/workflows" className={styles.back}>
            {t("workflow.title")}
          </Link>
        }
        name={name}
      >
        <span className="dim grow">{description}</span>
        {mayChange && <Undeploy workflow={workflow.data} onGoing={setIsGoing} />}
      </PageHead>
      <Facts
        facts={[
          [t("workflow.id"), name !== id && id],
          [t("type.version"), version],
          [t("rule.runs"), t(`rule.placement.${placement}`)],
          [t("list.updated"), <Moment key="updated" ts={updated} />],
        ]}
      />
      {!isGoing && <WorkflowViews key={id} workflow={workflow.data} mayChange={mayChange} />}
    </>
  );
}

/** What can be looked at of a workflow; what is typed stays while one looks at something else. */
function WorkflowViews({ workflow, mayChange }: { workflow: WorkflowOut; mayChange: boolean }) {
  const { t } = useTranslation();
  const { view = "picture" } = route.useSearch();
  const navigate = useNavigate({ from: "/workflows/$workflow" });
  const [typed, setTyped] = useState<string>();
  const look = (wanted: View) => void navigate({ search: { view: wanted === "picture" ? undefined : wanted } });
  return (
    <Views views={WORKFLOW_VIEWS} shown={view} nameOf={(one) => t(`workflow.view.${one}`)} onLook={look}>
      <Tabs.Panel value="picture">
        <div className={styles.columns}>
          <InstancesInPicture workflow={workflow} />
          <div className={`${styles.side} ${styles.lists}`}>
            {mayChange && <StartForm workflow={workflow} />}
            {workflow.placement === "edge" && <AtGateways told={workflow.gateways} nobody={t("rule.noGateway")} />}
            <Warnings workflow={workflow} />
          </div>
        </div>
      </Tabs.Panel>
      <Tabs.Panel value="instances">
        <Instances wanted={{ workflow: workflow.id }} />
      </Tabs.Panel>
      <Tabs.Panel value="document">
        <Suspense>
          <Editor
            title={t("workflow.view.document")}
            text={typed ?? written(workflow.document)}
            onChange={setTyped}
            workflow={workflow}
            onDeployed={() => setTyped(undefined)}
            mayChange={mayChange}
          />
        </Suspense>
      </Tabs.Panel>
      <Tabs.Panel value="versions">
        <Suspense>
          <Versions workflow={workflow} mayChange={mayChange} />
        </Suspense>
      </Tabs.Panel>
    </Views>
  );
}

/** A version as a picture, with how many instances are where. */
function InstancesInPicture({ workflow }: { workflow: WorkflowOut }) {
  const { t } = useTranslation();
  const { version = workflow.version } = route.useSearch();
  const navigate = useNavigate({ from: "/workflows/$workflow" });
  const graph = useQuery(showWorkflowGraphOptions({ path: { workflow_id: workflow.id }, query: { version } }));
  const names = workflow.versions.map((one) => one.version);
  return (
    <section className="card" aria-labelledby="picture">
      <header>
        <h2 id="picture">{t("workflow.view.picture")}</h2>
        <span className="dim small grow">{graph.data?.complete === false && t("workflow.notAllCounted")}</span>
        {(names.length > 1 || version !== workflow.version) && (
          <Select
            size="xs"
            w={110}
            aria-label={t("type.version")}
            allowDeselect={false}
            value={version}
            data={names.includes(version) ? names : [version, ...names]}
            onChange={(wanted) => void navigate({ search: { version: wanted === workflow.version ? undefined : (wanted ?? undefined) }, replace: true })}
          />
        )}
      </header>
      <ProblemNote error={graph.error} onRetry={graph.refetch} />
      {graph.data && (
        <>
          {graph.data.triggers.length > 0 && (
            <p className={own.triggers}>
              <span className="dim">{t("workflow.startsBy")}</span> {graph.data.triggers.join(" · ")}
            </p>
          )}
          <Picture graph={graph.data} shown={{ counts: graph.data.instances }} label={t("workflow.pictureOf", { workflow: workflow.id })} />
        </>
      )}
    </section>
  );
}

function Warnings({ workflow }: { workflow: WorkflowOut }) {
  const { t } = useTranslation();
  if (workflow.warnings.length === 0) return null;
  return (
    <section className="card" aria-labelledby="warnings">
      <h2 id="warnings">{t("workflow.warnings")}</h2>
      <ul className={`body ${own.plain}`}>
        {workflow.warnings.map(({ path, reason }) => (
          <li key={path + reason} data-warning={path}>
            <code>{path.replace(/^document\.?/, "")}</code> {reason}
          </li>
        ))}
      </ul>
    </section>
  );
}
