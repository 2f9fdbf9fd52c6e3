import { Skeleton } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { LatestValues } from "../../api/types.gen";
import { Ago } from "../../components/Time";
import { shownValue } from "../../components/values";
import styles from "./Latest.module.css";

/** The newest value of each metric. */
export function Latest({ metrics }: { metrics: LatestValues["metrics"] | undefined }) {
  const { t, i18n } = useTranslation();
  if (metrics === undefined) return <Skeleton height={74} mb={16} radius={10} />;
  return (
    <ul className={styles.tiles} aria-label={t("device.latest")}>
      {Object.entries(metrics).map(([name, { ts, value }]) => (
        <li key={name} className={styles.tile} data-metric={name}>
          <span className="dim small">{name}</span>
          <span className={styles.value}>{shownValue(value, t, i18n.language)}</span>
          <span className="dim small">
            <Ago ts={ts} />
          </span>
        </li>
      ))}
    </ul>
  );
}
