import { useTranslation } from "react-i18next";
import type { GatewayShown, MemberShown } from "../../api/types.gen";
import marks from "../../components/marks.module.css";
import { Presence } from "../../components/Presence";
import { RowsComing } from "../../components/Rows";
import { Moment } from "../../components/Time";
import own from "./Gateways.module.css";

const COLUMNS = 5;
const TONES: Record<MemberShown["state"], string> = { active: "good", joining: "busy", leaving: "warn", down: "bad", unknown: "idle" };

/** Gateways, a row each; none while they are still read. */
export function Gateways({ items, leader }: { items?: GatewayShown[]; leader?: string }) {
  const { t } = useTranslation();
  return (
    <table className="grid">
      <thead>
        <tr>
          <th>{t("gateway.gateway")}</th>
          <th>{t("device.status")}</th>
          <th>{t("gateway.inCluster")}</th>
          <th className="wide-only">{t("gateway.partitions")}</th>
          <th className="wide-only">{t("gateway.waiting")}</th>
        </tr>
      </thead>
      <tbody>
        {items === undefined && <RowsComing columns={COLUMNS} />}
        {items?.map((one) => (
          <Row key={one.id} gateway={one} leads={one.id === leader} />
        ))}
      </tbody>
    </table>
  );
}

function Row({ gateway: { id, online, heard, waiting, release, member }, leads }: { gateway: GatewayShown; leads: boolean }) {
  const { t } = useTranslation();
  return (
    <tr data-gateway={id} data-member={member?.state}>
      <td>
        <b>{id}</b>
        {release && (
          <div className="dim small">
            {t("gateway.release")} {release}
          </div>
        )}
      </td>
      <td>
        <Presence status={online ? "online" : heard === null ? "unknown" : "offline"} />
        {heard !== null && (
          <div className="dim small">
            <Moment ts={heard} />
          </div>
        )}
      </td>
      <td>
        {member === null ? (
          <span className="dim">–</span>
        ) : (
          <div className={own.marks}>
            <span className={marks.mark}>
              <span className={marks.dot} data-tone={TONES[member.state]} />
              {t(`gateway.member.${member.state}`)}
            </span>
            {leads && <b>{t("gateway.leads")}</b>}
          </div>
        )}
      </td>
      <td className="wide-only">{member?.partitions ?? <span className="dim">–</span>}</td>
      <td className="wide-only">{waiting ?? <span className="dim">–</span>}</td>
    </tr>
  );
}
