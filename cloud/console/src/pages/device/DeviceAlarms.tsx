import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { Alarms } from "../../components/Alarms";
import styles from "../../components/Page.module.css";
import own from "./DeviceAlarms.module.css";

/** What is wrong with a device now, and the way to all that ever was. */
export function DeviceAlarms({ device }: { device: string }) {
  const { t } = useTranslation();
  return (
    <section className={`card ${own.alarms}`} aria-labelledby="alarms">
      <header>
        <h2 id="alarms" className="grow">
          {t("alarm.title")}
        </h2>
        <Link to="/alarms" search={{ device, which: "all" }} className={styles.back}>
          {t("alarm.allOfDevice")}
        </Link>
      </header>
      <Alarms device={device} empty={<p className={`body dim ${own.none}`}>{t("alarm.noneOpen")}</p>} />
    </section>
  );
}
