import { Button, SegmentedControl } from "@mantine/core";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { listDevicesInfiniteOptions, listLatestOptions } from "../../api/@tanstack/react-query.gen";
import { Empty } from "../../components/Empty";
import styles from "../../components/Page.module.css";
import { ProblemNote } from "../../components/ProblemNote";
import { More, RowsComing } from "../../components/Rows";
import { Search } from "../../components/Search";
import { useMayChange } from "../../components/useMayChange";
import { useTitle } from "../../components/useTitle";
import { DeviceRow } from "./DeviceRow";

const PAGE = 50;
const COLUMNS = 7;
const STATUSES = ["online", "stale", "asleep", "offline", "unknown"] as const;

const route = getRouteApi("/shell/");

export function FleetPage() {
  const { t } = useTranslation();
  const { q, status } = route.useSearch();
  const navigate = useNavigate({ from: "/" });
  const mayChange = useMayChange();
  const devices = useInfiniteQuery({
    ...listDevicesInfiniteOptions({ query: { q, status, limit: PAGE } }),
    initialPageParam: {},
    getNextPageParam: (page) => page.next ?? undefined,
    placeholderData: (before) => before,
  });
  useTitle(t("fleet.title"));

  const pages = devices.data?.pages ?? [];
  const count = pages.reduce((sum, page) => sum + page.items.length, 0);
  const isFiltered = q !== undefined || status !== undefined;
  return (
    <>
      <div className="bar">
        <h1>{t("fleet.title")}</h1>
        <span className="dim grow" role="status">
          {devices.data && t(devices.hasNextPage ? "fleet.countSoFar" : "fleet.count", { count })}
        </span>
        {mayChange && isFiltered && (
          <Link to="/groups" search={{ q, status }} className={styles.back}>
            {t("fleet.asGroup")}
          </Link>
        )}
        <Search q={q} label={t("fleet.search")} onChange={(wanted) => void navigate({ search: (had) => ({ ...had, q: wanted }), replace: true })} />
        <SegmentedControl
          size="xs"
          aria-label={t("fleet.status")}
          value={status ?? ""}
          onChange={(wanted) => void navigate({ search: (had) => ({ ...had, status: wanted || undefined }) })}
          data={[{ value: "", label: t("fleet.all") }, ...STATUSES.map((one) => ({ value: one, label: t(`presence.${one}`) }))]}
        />
      </div>
      <ProblemNote error={devices.error} onRetry={devices.refetch} />
      <div className="card">
        {devices.isSuccess && count === 0 ? (
          <NoDevices isFiltered={isFiltered} onClear={() => void navigate({ search: {} })} />
        ) : (
          <table className="grid">
            <thead>
              <tr>
                <th>{t("device.device")}</th>
                <th>{t("device.status")}</th>
                <th>{t("device.latest")}</th>
                <th className="wide-only">{t("device.seen")}</th>
                <th className="wide-only">{t("device.type")}</th>
                <th className="wide-only">{t("device.site")}</th>
                <th className="wide-only">{t("device.firmware")}</th>
              </tr>
            </thead>
            <tbody>
              {devices.isPending && <RowsComing columns={COLUMNS} />}
              {pages.map((page) => (
                <DeviceRows key={page.items[0]?.id} devices={page.items} />
              ))}
            </tbody>
          </table>
        )}
        <More query={devices} />
      </div>
    </>
  );
}

/** One page of devices, with their latest values in one request. */
function DeviceRows({ devices }: { devices: Parameters<typeof DeviceRow>[0]["device"][] }) {
  const ids = devices.map((device) => device.id);
  const latest = useQuery({ ...listLatestOptions({ query: { device: ids } }), enabled: ids.length > 0 });
  const metrics = new Map(latest.data?.items.map((item) => [item.device, item.metrics]));
  return devices.map((device) => <DeviceRow key={device.id} device={device} metrics={metrics.get(device.id)} />);
}

function NoDevices({ isFiltered, onClear }: { isFiltered: boolean; onClear: () => void }) {
  const { t } = useTranslation();
  if (isFiltered) {
    return (
      <Empty title={t("fleet.nothingFound")}>
        <Button size="xs" variant="default" mt="xs" onClick={onClear}>
          {t("fleet.clear")}
        </Button>
      </Empty>
    );
  }
  return (
    <Empty title={t("fleet.empty")}>
      {t("fleet.emptyHow")} <code>fieldloom device new NAME</code>
    </Empty>
  );
}
