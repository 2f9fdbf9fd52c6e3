import { useTranslation } from "react-i18next";
import type { ClusterShown } from "../../api/types.gen";
import { Facts } from "../../components/Facts";
import { Moment } from "../../components/Time";
import own from "./Gateways.module.css";

/** Who leads a site's gateways, whose word that is, and why nothing that they share can be written, if so. */
export function Cluster({ told: { told_by: by, at, leader, fault } }: { told: ClusterShown }) {
  const { t } = useTranslation();
  return (
    <>
      <Facts
        facts={[
          [t("gateway.leader"), leader ?? "–"],
          [t("gateway.toldBy"), <span key="by">{by}, <Moment ts={at} /></span>],
        ]}
      />
      {fault && (
        <p className={own.fault} role="alert">
          <b>{t("gateway.fault")}</b> {fault}
        </p>
      )}
    </>
  );
}
