import { Select } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { listWorkflowsOptions } from "../../api/@tanstack/react-query.gen";
import styles from "../../components/Page.module.css";
import { Search } from "../../components/Search";
import { useTitle } from "../../components/useTitle";
import { Instances } from "./Instances";
import { INSTANCE_STATUSES, statusOf } from "./Status";

const MOST_WORKFLOWS = 500;
const ANY = "";

const route = getRouteApi("/shell/instances");

/** The instances of all workflows, those that are over too. */
export function InstancesPage() {
  const { t } = useTranslation();
  const wanted = route.useSearch();
  const navigate = useNavigate({ from: "/instances" });
  const workflows = useQuery(listWorkflowsOptions({ query: { limit: MOST_WORKFLOWS } }));
  const names = workflows.data?.items.map((one) => one.id) ?? [];
  const known = wanted.workflow === undefined || names.includes(wanted.workflow) ? names : [wanted.workflow, ...names];
  useTitle(t("instance.title"));
  return (
    <>
      <div className="bar">
        <Link to="/workflows" className={styles.back}>
          {t("workflow.title")}
        </Link>
        <span className="dim" aria-hidden="true">
          /
        </span>
        <h1 className="grow">{t("instance.title")}</h1>
        <Select
          size="xs"
          w={190}
          aria-label={t("workflow.workflow")}
          allowDeselect={false}
          value={wanted.workflow ?? ANY}
          onChange={(workflow) => void navigate({ search: (had) => ({ ...had, workflow: workflow || undefined }) })}
          data={[{ value: ANY, label: t("instance.anyWorkflow") }, ...known.map((one) => ({ value: one, label: one }))]}
        />
        <Select
          size="xs"
          w={150}
          aria-label={t("instance.statusOf")}
          allowDeselect={false}
          value={wanted.status ?? ANY}
          onChange={(status) => void navigate({ search: (had) => ({ ...had, status: statusOf(status) }) })}
          data={[{ value: ANY, label: t("instance.anyStatus") }, ...INSTANCE_STATUSES.map((one) => ({ value: one, label: t(`instance.status.${one}`) }))]}
        />
        <Search q={wanted.device} label={t("instance.ofDevice")} onChange={(device) => void navigate({ search: (had) => ({ ...had, device }), replace: true })} />
      </div>
      <Instances wanted={wanted} />
    </>
  );
}
