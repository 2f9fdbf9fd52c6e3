import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { showInstanceInfiniteOptions, showWorkflowGraphOptions } from "../../api/@tanstack/react-query.gen";
import type { InstanceOut } from "../../api/types.gen";
import { Facts } from "../../components/Facts";
import styles from "../../components/Page.module.css";
import { PageHead } from "../../components/PageHead";
import { ProblemNote } from "../../components/ProblemNote";
import { Moment } from "../../components/Time";
import { useMayChange } from "../../components/useMayChange";
import { useTitle } from "../../components/useTitle";
import { Picture } from "../workflows/Picture";
import { Actions } from "./Actions";
import { History } from "./History";
import { Requests } from "./Requests";
import own from "./Instances.module.css";
import { DeviceLink } from "./Instances";
import { shownOf } from "./progress";
import { Status } from "./Status";
import { Variables, Waits } from "./Standing";

const route = getRouteApi("/shell/instances/$instance");

/** An instance: where it is in its workflow's picture, what it knows, and what has become of it so far. */
export function InstancePage() {
  const { t } = useTranslation();
  const { instance: id } = route.useParams();
  const mayChange = useMayChange();
  const told = useInfiniteQuery({
    ...showInstanceInfiniteOptions({ path: { instance_id: id } }),
    initialPageParam: 0,
    getNextPageParam: (page) => page.next ?? undefined,
  });
  useTitle(id);

  const instance = told.data?.pages.at(-1);
  if (!instance) return <ProblemNote error={told.error} onRetry={told.refetch} />;
  const history = told.data?.pages.flatMap((page) => page.history) ?? [];
  return (
    <>
      <PageHead
        back={
          <Link to="/instances" search={{ workflow: instance.workflow }} className={styles.back}>
            {t("instance.title")}
          </Link>
        }
        name={id}
        nameClass={own.id}
      >
        <Status status={instance.status} />
      </PageHead>
      <InstanceFacts instance={instance} />
      <div className={styles.columns}>
        <Progress instance={instance} history={history} />
        <div className={`${styles.side} ${styles.lists}`}>
          {mayChange && <Actions key={String(instance.ended === null)} instance={instance} />}
          <Requests requests={instance.requests} />
          <Waits instance={instance} />
          <Variables instance={instance} />
        </div>
        <History history={history} query={told} />
      </div>
    </>
  );
}

function InstanceFacts({ instance }: { instance: InstanceOut }) {
  const { t } = useTranslation();
  const { workflow, version, gateway, device, correlation, parent, created, ended, deadline } = instance;
  return (
    <Facts
      facts={[
        [
          t("workflow.workflow"),
          <Link key="workflow" to="/workflows/$workflow" params={{ workflow }} search={{ version }} className={styles.inText}>
            {workflow} {version}
          </Link>,
        ],
        [t("rule.runs"), gateway ?? t("rule.placement.cloud")],
        [t("device.device"), device && <DeviceLink device={device} />],
        [t("instance.correlation"), correlation !== device && correlation],
        [
          t("instance.parent"),
          parent && (
            <Link to="/instances/$instance" params={{ instance: parent }} className={styles.inText}>
              {parent}
            </Link>
          ),
        ],
        [t("instance.created"), <Moment key="created" ts={created} />],
        [t("instance.ended"), ended && <Moment ts={ended} />],
        [t("instance.deadline"), deadline && <Moment ts={deadline} />],
      ]}
    />
  );
}

/** The picture of the version that it runs, with where it is and where it was. */
function Progress({ instance, history }: { instance: InstanceOut; history: InstanceOut["history"] }) {
  const { t } = useTranslation();
  const { workflow, version, fault, failure } = instance;
  const graph = useQuery(showWorkflowGraphOptions({ path: { workflow_id: workflow }, query: { version } }));
  const drawn = graph.data;
  const shown = useMemo(() => drawn && shownOf(drawn, instance, history), [drawn, instance, history]);
  return (
    <section className="card" aria-labelledby="progress">
      <h2 id="progress">{t("workflow.view.picture")}</h2>
      <ProblemNote error={graph.error} onRetry={graph.refetch} />
      {fault && (
        <p className={own.wrong} role="alert">
          <b>{t("instance.standsStill")}</b> {fault}
        </p>
      )}
      {failure && (
        <p className={own.wrong} data-failure={failure.kind}>
          <b>{failure.state}</b> <code>{failure.kind}</code> {failure.message}
        </p>
      )}
      {drawn && shown && <Picture graph={drawn} shown={shown} label={t("workflow.pictureOf", { workflow })} />}
    </section>
  );
}
