import { Button } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { listFiringsInfiniteOptions } from "../../api/@tanstack/react-query.gen";
import type { EffectOut, FiringOut } from "../../api/types.gen";
import { Empty } from "../../components/Empty";
import links from "../../components/Page.module.css";
import { ProblemNote } from "../../components/ProblemNote";
import { More, RowsComing } from "../../components/Rows";
import { Moment } from "../../components/Time";
import styles from "./Rules.module.css";
import { Values } from "../../components/Values";

const PAGE = 25;
const COLUMNS = 4;

/** When a rule has fired, here and at gateways, with the values that caused it and what became of its actions. */
export function Firings({ rule, onExplain }: { rule: string; onExplain: (firing: FiringOut) => void }) {
  const { t } = useTranslation();
  const firings = useInfiniteQuery({
    ...listFiringsInfiniteOptions({ path: { rule_id: rule }, query: { limit: PAGE } }),
    initialPageParam: { path: { rule_id: rule } },
    getNextPageParam: (page) => page.next ?? undefined,
  });
  const items = firings.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <section className="card" aria-labelledby="firings">
      <h2 id="firings">{t("rule.view.firings")}</h2>
      <ProblemNote error={firings.error} onRetry={firings.refetch} />
      {firings.isSuccess && items.length === 0 ? (
        <Empty title={t("rule.neverFired")}>
          {t("rule.neverFiredHow")}{" "}
          <Link to="/rules/$rule" params={{ rule }} search={{ view: "backtest" }} className={links.inText}>
            {t("rule.view.backtest")}
          </Link>
        </Empty>
      ) : (
        <div className="scroll">
          <table className="grid">
            <thead>
              <tr>
                <th>{t("telemetry.time")}</th>
                <th className="wide-only">{t("device.device")}</th>
                <th>{t("rule.why")}</th>
                <th>
                  <span className="visually-hidden">{t("rule.view.explain")}</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {firings.isPending && <RowsComing columns={COLUMNS} rows={4} />}
              {items.map((firing) => (
                <Row key={JSON.stringify([firing.gateway, firing.event, firing.at, firing.holds, firing.amends])} firing={firing} onExplain={() => onExplain(firing)} />
              ))}
            </tbody>
          </table>
        </div>
      )}
      <More query={firings} />
    </section>
  );
}

function Row({ firing, onExplain }: { firing: FiringOut; onExplain: () => void }) {
  const { t } = useTranslation();
  const remarks = [
    !firing.holds && t("rule.over"),
    firing.mode === "shadow" && t("rule.mode.shadow"),
    firing.late && t("rule.late"),
    firing.amends === "adds" && t("rule.adds"),
    firing.amends === "withdraws" && t("rule.withdraws"),
  ].filter((remark) => remark !== false);
  return (
    <tr data-firing={firing.device} data-holds={firing.holds}>
      <td className="top">
        <Moment ts={firing.at} />
        <div className="dim small nowrap">
          {firing.version} · {firing.gateway || t("rule.cloud")}
        </div>
      </td>
      <td className="wide-only top">
        <Subject device={firing.device} remarks={remarks} />
      </td>
      <td>
        <div className="narrow-only">
          <Subject device={firing.device} remarks={remarks} />
        </div>
        <Values values={firing.values} />
        <ul className={styles.effects}>
          {firing.effects.map((effect) => (
            <Effect key={effect.id} effect={effect} />
          ))}
        </ul>
      </td>
      <td className="num top">
        <Button size="compact-xs" variant="default" onClick={onExplain}>
          {t("rule.view.explain")}
        </Button>
      </td>
    </tr>
  );
}

function Subject({ device, remarks }: { device: string; remarks: string[] }) {
  return (
    <>
      <Link to="/devices/$device" params={{ device }} className="name">
        {device}
      </Link>
      {remarks.length > 0 && <div className="dim small">{remarks.join(" · ")}</div>}
    </>
  );
}

/** An action and what became of it; what was withheld or failed says why. */
function Effect({ effect }: { effect: EffectOut }) {
  const { t } = useTranslation();
  const reason = effect.error ?? effect.withheld;
  return (
    <li className="small" data-effect={effect.kind} data-status={effect.status}>
      <span className="mono">{effect.kind}</span>{" "}
      <span className={effect.status === "failed" ? styles.failed : "dim"}>
        {t(`rule.effect.${effect.status}`)}
        {reason && `: ${reason}`}
      </span>
    </li>
  );
}
