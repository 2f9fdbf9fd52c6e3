import { Skeleton } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { showDeviceOptions, showLatestOptions } from "../../api/@tanstack/react-query.gen";
import type { DeviceOut } from "../../api/types.gen";
import { DeadLetters } from "../../components/DeadLetters";
import { Facts } from "../../components/Facts";
import styles from "../../components/Page.module.css";
import { Presence } from "../../components/Presence";
import { PageHead } from "../../components/PageHead";
import { ProblemNote } from "../../components/ProblemNote";
import { useTitle } from "../../components/useTitle";
import { Charts } from "./Charts";
import { Commands } from "./Commands";
import { DeviceAlarms } from "./DeviceAlarms";
import { Events } from "./Events";
import { Holds } from "./Holds";
import { Latest } from "./Latest";
import { Twin } from "./Twin";

const route = getRouteApi("/shell/devices/$device");

export function DevicePage() {
  const { device: id } = route.useParams();
  const path = { device_id: id };
  const device = useQuery(showDeviceOptions({ path }));
  const latest = useQuery(showLatestOptions({ path }));
  const { t } = useTranslation();
  useTitle(id);

  if (device.isError && !device.data) return <ProblemNote error={device.error} onRetry={device.refetch} />;
  return (
    <>
      <PageHead
        back={
          <Link to="/" className={styles.back}>
            {t("fleet.title")}
          </Link>
        }
        name={id}
      >
        {device.data ? <Presence status={device.data.status} /> : <Skeleton width={70} height={14} />}
      </PageHead>
      {device.data && <DeviceFacts device={device.data} />}
      <ProblemNote error={latest.error} onRetry={latest.refetch} />
      <Latest metrics={latest.data?.metrics} />
      <DeviceAlarms device={id} />
      <div className={styles.columns}>
        <Charts device={id} />
        <div className={styles.side}>
          <Commands device={id} type={device.data?.type} metrics={Object.keys(latest.data?.metrics ?? {})} />
          <Holds device={id} />
        </div>
        <div className={styles.lists}>
          <Twin device={id} />
          <Events device={id} />
          <section className="card" aria-labelledby="dead-letters">
            <h2 id="dead-letters">{t("deadLetters.title")}</h2>
            <DeadLetters device={id} />
          </section>
        </div>
      </div>
    </>
  );
}

function TypeLink({ type }: { type: string }) {
  return (
    <Link to="/types/$type" params={{ type }} className={styles.back}>
      {type}
    </Link>
  );
}

function DeviceFacts({ device }: { device: DeviceOut }) {
  const { t } = useTranslation();
  return (
    <Facts
      facts={[
        [t("device.name"), device.name],
        [t("device.type"), device.type && <TypeLink type={device.type} />],
        [t("device.site"), device.site],
        [t("device.firmware"), device.firmware],
        [t("device.model"), [device.manufacturer, device.model].filter(Boolean).join(" ")],
        ...Object.entries(device.tags),
      ]}
    />
  );
}
