import { useTranslation } from "react-i18next";
import type { ClusterShown } from "../../api/types.gen";
import styles from "../../components/Page.module.css";
import { Moment } from "../../components/Time";
import own from "./Gateways.module.css";

/** Who leads a site's gateways, whose word that is, and why nothing that they share can be written, if so. */
export function Cluster({ told: { told_by: by, at, leader, fault } }: { told: ClusterShown }) {
  const { t } = useTranslation();
  return (
    <>
      <dl className={styles.facts}>
        <div>
          <dt>{t("gateway.leader")}</dt>
          <dd data-leader={leader ?? ""}>{leader ?? "–"}</dd>
        </div>
        <div>
          <dt>{t("gateway.toldBy")}</dt>
          <dd>
            {by}, <Moment ts={at} />
          </dd>
        </div>
      </dl>
      {fault && (
        <p className={own.fault} role="alert">
          <b>{t("gateway.fault")}</b> {fault}
        </p>
      )}
    </>
  );
}
