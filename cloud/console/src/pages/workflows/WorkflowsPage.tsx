import { Button } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { lazy, Suspense } from "react";
import { useTranslation } from "react-i18next";
import { listWorkflowsInfiniteOptions } from "../../api/@tanstack/react-query.gen";
import { Empty } from "../../components/Empty";
import styles from "../../components/Page.module.css";
import { ProblemNote } from "../../components/ProblemNote";
import { More, RowsComing } from "../../components/Rows";
import { Moment } from "../../components/Time";
import { useMayChange } from "../../components/useMayChange";
import { useTitle } from "../../components/useTitle";
import { Counts } from "../instances/Status";
import own from "./Workflows.module.css";

const PAGE = 50;
const COLUMNS = 5;

const NewWorkflow = lazy(async () => ({ default: (await import("./NewWorkflow")).NewWorkflow }));
const route = getRouteApi("/shell/workflows");

/** All workflows that are deployed, and the way to a new one. */
export function WorkflowsPage() {
  const { t } = useTranslation();
  const { add } = route.useSearch();
  const navigate = useNavigate({ from: "/workflows" });
  const mayChange = useMayChange();
  const workflows = useInfiniteQuery({
    ...listWorkflowsInfiniteOptions({ query: { limit: PAGE } }),
    initialPageParam: {},
    getNextPageParam: (page) => page.next ?? undefined,
  });
  const items = workflows.data?.pages.flatMap((page) => page.items) ?? [];
  const isNew = add === true && mayChange;
  useTitle(t("workflow.title"));
  return (
    <>
      <div className="bar">
        <h1>{t("workflow.title")}</h1>
        <span className="dim grow">{t("workflow.meaning")}</span>
        <Link to="/instances" className={styles.back}>
          {t("workflow.allInstances")}
        </Link>
        {mayChange && !isNew && (
          <Button size="xs" onClick={() => void navigate({ search: { add: true } })}>
            {t("workflow.new")}
          </Button>
        )}
      </div>
      {isNew && (
        <Suspense>
          <NewWorkflow onCancel={() => void navigate({ search: {} })} />
        </Suspense>
      )}
      <ProblemNote error={workflows.error} onRetry={workflows.refetch} />
      <section className="card" aria-label={t("workflow.title")}>
        {workflows.isSuccess && items.length === 0 ? (
          <Empty title={t("workflow.empty")}>
            {t("workflow.emptyHow")} <code>fieldloom workflow deploy door-left-open.yaml</code>
          </Empty>
        ) : (
          <table className="grid">
            <thead>
              <tr>
                <th>{t("workflow.workflow")}</th>
                <th className="wide-only">{t("type.version")}</th>
                <th className="wide-only">{t("rule.runs")}</th>
                <th>{t("workflow.view.instances")}</th>
                <th className="wide-only">{t("list.updated")}</th>
              </tr>
            </thead>
            <tbody>
              {workflows.isPending && <RowsComing columns={COLUMNS} />}
              {items.map(({ id, name, description, version, placement, instances, updated }) => (
                <tr key={id} data-workflow={id}>
                  <td>
                    <Link to="/workflows/$workflow" params={{ workflow: id }} className="name">
                      {name}
                    </Link>
                    {description && <div className="dim small">{description}</div>}
                  </td>
                  <td className="wide-only">{version}</td>
                  <td className="wide-only">{t(`rule.placement.${placement}`)}</td>
                  <td>
                    <div className={own.counts}>
                      <Counts counts={instances} />
                    </div>
                  </td>
                  <td className="wide-only dim">
                    <Moment ts={updated} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
        <More query={workflows} />
      </section>
    </>
  );
}
