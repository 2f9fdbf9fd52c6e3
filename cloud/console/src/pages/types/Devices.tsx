import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { listDevicesInfiniteOptions, listMisfitsOptions } from "../../api/@tanstack/react-query.gen";
import type { DeviceOut } from "../../api/types.gen";
import { Empty } from "../../components/Empty";
import { Presence } from "../../components/Presence";
import { ProblemNote } from "../../components/ProblemNote";
import { More, RowsComing } from "../../components/Rows";

const PAGE = 20; // a request for misfits each

/** The devices of a type, with the readings that do not fit it. */
export function Devices({ type }: { type: string }) {
  const { t } = useTranslation();
  const devices = useInfiniteQuery({
    ...listDevicesInfiniteOptions({ query: { type, limit: PAGE } }),
    initialPageParam: {},
    getNextPageParam: (page) => page.next ?? undefined,
  });
  const items = devices.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <section className="card" aria-labelledby="devices">
      <h2 id="devices">{t("type.devices")}</h2>
      <ProblemNote error={devices.error} onRetry={devices.refetch} />
      {devices.isSuccess && items.length === 0 ? (
        <Empty title={t("type.noDevices")} />
      ) : (
        <div className="scroll">
          <table className="grid">
            <thead>
              <tr>
                <th>{t("device.device")}</th>
                <th>{t("device.status")}</th>
                <th>{t("type.misfits")}</th>
              </tr>
            </thead>
            <tbody>
              {devices.isPending && <RowsComing columns={3} rows={4} />}
              {items.map((device) => (
                <DeviceOfType key={device.id} device={device} />
              ))}
            </tbody>
          </table>
        </div>
      )}
      <More query={devices} />
    </section>
  );
}

function DeviceOfType({ device }: { device: DeviceOut }) {
  const { t } = useTranslation();
  const misfits = useQuery(listMisfitsOptions({ path: { device_id: device.id } }));
  return (
    <tr data-device={device.id}>
      <td className="top">
        <Link to="/devices/$device" params={{ device: device.id }} className="name">
          {device.id}
        </Link>
        {device.name && <div className="dim small">{device.name}</div>}
      </td>
      <td className="top">
        <Presence status={device.status} />
      </td>
      <td className="top">
        {misfits.data?.items.length === 0 && <span className="dim">–</span>}
        {misfits.data?.items.map(({ metric, count, reason }) => (
          <div key={metric} data-misfit={metric}>
            <b>{metric}</b> {t("type.misfit", { count, reason })}
          </div>
        ))}
      </td>
    </tr>
  );
}
