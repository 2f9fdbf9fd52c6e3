import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { listInstancesInfiniteOptions } from "../../api/@tanstack/react-query.gen";
import type { InstanceShort } from "../../api/types.gen";
import { Empty } from "../../components/Empty";
import { ProblemNote } from "../../components/ProblemNote";
import { More, RowsComing } from "../../components/Rows";
import { Moment } from "../../components/Time";
import own from "./Instances.module.css";
import { Status, type StatusName } from "./Status";

const PAGE = 50;
const COLUMNS = 7;
const MOST_STATES = 3;

/** Which instances; nothing takes any. */
export type Wanted = { workflow?: string; status?: StatusName; device?: string };

/** Instances, the newest first: where each is, and since when. */
export function Instances({ wanted }: { wanted: Wanted }) {
  const { t } = useTranslation();
  const instances = useInfiniteQuery({
    ...listInstancesInfiniteOptions({ query: { ...wanted, limit: PAGE } }),
    initialPageParam: {},
    getNextPageParam: (page) => page.next ?? undefined,
    placeholderData: (before) => before,
  });
  const items = instances.data?.pages.flatMap((page) => page.items) ?? [];
  const isFiltered = Object.values(wanted).some((one) => one !== undefined);
  return (
    <section className="card" aria-label={t("instance.title")}>
      <ProblemNote error={instances.error} onRetry={instances.refetch} />
      {instances.isSuccess && items.length === 0 ? (
        <Empty title={isFiltered ? t("instance.noneSuch") : t("instance.empty")} />
      ) : (
        <table className="grid">
          <thead>
            <tr>
              <th>{t("instance.instance")}</th>
              <th>{t("instance.statusOf")}</th>
              <th className="wide-only">{t("instance.at")}</th>
              <th className="wide-only">{t("device.device")}</th>
              <th className="wide-only">{t("rule.runs")}</th>
              <th className="wide-only">{t("instance.created")}</th>
              <th className="wide-only">{t("instance.ended")}</th>
            </tr>
          </thead>
          <tbody>
            {instances.isPending && <RowsComing columns={COLUMNS} />}
            {items.map((instance) => (
              <Row key={instance.id} instance={instance} />
            ))}
          </tbody>
        </table>
      )}
      <More query={instances} />
    </section>
  );
}

function Row({ instance }: { instance: InstanceShort }) {
  const { t } = useTranslation();
  const { id, workflow, version, status, states, device, gateway, created, ended, fault } = instance;
  return (
    <tr data-instance={id}>
      <td>
        <Link to="/instances/$instance" params={{ instance: id }} className={`name ${own.id}`}>
          {id}
        </Link>
        <div className="dim small">
          {workflow} {version}
        </div>
        <div className="narrow-only small">{placesOf(states)}</div>
      </td>
      <td>
        <Status status={status} />
        {fault && <div className={own.fault}>{t("instance.standsStill")}</div>}
      </td>
      <td className="wide-only">{states.length > 0 ? placesOf(states) : <span className="dim">–</span>}</td>
      <td className="wide-only">
        <DeviceLink device={device} />
      </td>
      <td className="wide-only">{gateway ?? t("rule.placement.cloud")}</td>
      <td className="wide-only">
        <Moment ts={created} />
      </td>
      <td className="wide-only">{ended ? <Moment ts={ended} /> : <span className="dim">–</span>}</td>
    </tr>
  );
}

/** Where an instance is; of one that is in many states at once the first, and how many more there are. */
function placesOf(states: string[]): string {
  const more = states.length > MOST_STATES ? [`+ ${states.length - MOST_STATES}`] : [];
  return [...states.slice(0, MOST_STATES), ...more].join(", ");
}

export function DeviceLink({ device }: { device: string | null }) {
  if (device === null) return <span className="dim">–</span>;
  return (
    <Link to="/devices/$device" params={{ device }} className="name">
      {device}
    </Link>
  );
}
