import { Button } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import type { AlarmOut } from "../api/types.gen";
import { AlarmDetails } from "./AlarmDetails";
import styles from "./AlarmRow.module.css";
import { SeverityMark } from "./Severity";
import { Moment } from "./Time";

type AlarmRowProps = {
  alarm: AlarmOut;
  columns: number;
  /** All rows are of one device, so it is not named. */
  isOfOne: boolean;
  mayChange: boolean;
};

/** One alarm; opened, it shows its history and what can be done about it. */
export function AlarmRow({ alarm, columns, isOfOne, mayChange }: AlarmRowProps) {
  const { t } = useTranslation();
  const [isOpen, setIsOpen] = useState(false);
  return (
    <>
      <tr data-alarm={alarm.id} data-state={alarm.state}>
        <td>
          <SeverityMark severity={alarm.severity} />
          {alarm.muted && (
            <div className={styles.muted} title={t("alarm.mutedWhy")}>
              {t("alarm.muted")}
            </div>
          )}
        </td>
        <td className={styles.alarm}>
          <b>{alarm.name}</b>
          {alarm.count > 1 && <span className="dim"> × {alarm.count}</span>}
          {alarm.message && <div>{alarm.message}</div>}
          <div className="narrow-only small dim">
            {!isOfOne && <DeviceLink device={alarm.device} />} <State alarm={alarm} /> <Moment ts={alarm.raised_at} />
          </div>
        </td>
        {!isOfOne && (
          <td className="wide-only">
            <DeviceLink device={alarm.device} />
          </td>
        )}
        <td className="wide-only">
          <Moment ts={alarm.raised_at} />
        </td>
        <td className="wide-only">
          <State alarm={alarm} />
          {alarm.cleared_at && (
            <div className="dim small">
              <Moment ts={alarm.cleared_at} />
            </div>
          )}
        </td>
        <td className="num">
          <Button size="compact-xs" variant="default" aria-expanded={isOpen} onClick={() => setIsOpen(!isOpen)}>
            {t("alarm.details")}
          </Button>
        </td>
      </tr>
      {isOpen && (
        <tr data-details={alarm.id}>
          <td colSpan={columns}>
            <AlarmDetails alarm={alarm} mayChange={mayChange} />
          </td>
        </tr>
      )}
    </>
  );
}

function State({ alarm }: { alarm: AlarmOut }) {
  const { t } = useTranslation();
  return (
    <span className={styles.state} data-state={alarm.state}>
      {t(`alarm.state.${alarm.state}`)}
    </span>
  );
}

function DeviceLink({ device }: { device: string }) {
  return (
    <Link to="/devices/$device" params={{ device }} className="name">
      {device}
    </Link>
  );
}
