import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import type { DeviceOut, LatestValues } from "../../api/types.gen";
import { Presence } from "../../components/Presence";
import { Ago } from "../../components/Time";
import { shownValue } from "../../components/values";
import styles from "./DeviceRow.module.css";

const SHOWN_METRICS = 4;

export function DeviceRow({ device, metrics }: { device: DeviceOut; metrics?: LatestValues["metrics"] }) {
  const { t, i18n } = useTranslation();
  const entries = Object.entries(metrics ?? {});
  const seen = entries.reduce((newest, [, value]) => (value.ts > newest ? value.ts : newest), "");
  return (
    <tr className={styles.row} data-device={device.id}>
      <td>
        <Link to="/devices/$device" params={{ device: device.id }} className={styles.link}>
          {device.id}
        </Link>
        {device.name && <div className="dim small">{device.name}</div>}
      </td>
      <td>
        <Presence status={device.status} />
      </td>
      <td>
        <ul className={styles.values}>
          {entries.slice(0, SHOWN_METRICS).map(([name, { value }]) => (
            <li key={name} data-metric={name}>
              <span className="dim">{name}</span> <b>{shownValue(value, t, i18n.language)}</b>
            </li>
          ))}
          {entries.length > SHOWN_METRICS && <li className="dim">+{entries.length - SHOWN_METRICS}</li>}
        </ul>
      </td>
      <td className="wide-only dim">{seen ? <Ago ts={seen} /> : "–"}</td>
      <td className="wide-only">{device.type || <span className="dim">–</span>}</td>
      <td className="wide-only">{device.site}</td>
      <td className="wide-only mono">{device.firmware || <span className="dim">–</span>}</td>
    </tr>
  );
}
