import { Button } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { lazy, Suspense } from "react";
import { useTranslation } from "react-i18next";
import { listRulesInfiniteOptions } from "../../api/@tanstack/react-query.gen";
import type { RuleListed } from "../../api/types.gen";
import { Empty } from "../../components/Empty";
import { ProblemNote } from "../../components/ProblemNote";
import { More, RowsComing } from "../../components/Rows";
import { Moment } from "../../components/Time";
import { useMayChange } from "../../components/useMayChange";
import { useTitle } from "../../components/useTitle";
import { Mode } from "./Mode";

const PAGE = 50;
const COLUMNS = 6;

const NewRule = lazy(async () => ({ default: (await import("./NewRule")).NewRule }));
const route = getRouteApi("/shell/rules");

/** All rules as they are at work, and the way to a new one. */
export function RulesPage() {
  const { t } = useTranslation();
  const { add } = route.useSearch();
  const navigate = useNavigate({ from: "/rules" });
  const mayChange = useMayChange();
  const rules = useInfiniteQuery({
    ...listRulesInfiniteOptions({ query: { limit: PAGE } }),
    initialPageParam: {},
    getNextPageParam: (page) => page.next ?? undefined,
  });
  const items = rules.data?.pages.flatMap((page) => page.items) ?? [];
  const isNew = add === true && mayChange;
  useTitle(t("rule.title"));
  return (
    <>
      <div className="bar">
        <h1>{t("rule.title")}</h1>
        <span className="dim grow">{t("rule.meaning")}</span>
        {mayChange && !isNew && (
          <Button size="xs" onClick={() => void navigate({ search: { add: true } })}>
            {t("rule.new")}
          </Button>
        )}
      </div>
      {isNew && (
        <Suspense>
          <NewRule onCancel={() => void navigate({ search: {} })} />
        </Suspense>
      )}
      <ProblemNote error={rules.error} onRetry={rules.refetch} />
      <section className="card" aria-label={t("rule.title")}>
        {rules.isSuccess && items.length === 0 ? (
          <Empty title={t("rule.empty")}>
            {t("rule.emptyHow")} <code>fieldloom rule deploy overheat.yaml</code>
          </Empty>
        ) : (
          <div className="scroll">
            <table className="grid">
              <thead>
                <tr>
                  <th>{t("rule.rule")}</th>
                  <th>{t("rule.modeOf")}</th>
                  <th className="wide-only">{t("type.version")}</th>
                  <th className="wide-only">{t("rule.runs")}</th>
                  <th className="wide-only">{t("rule.gateways")}</th>
                  <th>{t("rule.lastFired")}</th>
                </tr>
              </thead>
              <tbody>
                {rules.isPending && <RowsComing columns={COLUMNS} />}
                {items.map((rule) => (
                  <Row key={rule.id} rule={rule} />
                ))}
              </tbody>
            </table>
          </div>
        )}
        <More query={rules} />
      </section>
    </>
  );
}

function Row({ rule }: { rule: RuleListed }) {
  const { t } = useTranslation();
  return (
    <tr data-rule={rule.id}>
      <td>
        <Link to="/rules/$rule" params={{ rule: rule.id }} className="name">
          {rule.id}
        </Link>
        {rule.description && <div className="dim small">{rule.description}</div>}
      </td>
      <td>
        <Mode mode={rule.mode} />
      </td>
      <td className="wide-only">{rule.version}</td>
      <td className="wide-only">{t(`rule.placement.${rule.placement}`)}</td>
      <td className="wide-only">
        <AtGateways counts={rule.gateways} />
      </td>
      <td>{rule.last_fired ? <Moment ts={rule.last_fired} /> : <span className="dim">–</span>}</td>
    </tr>
  );
}

/** How many gateways have a rule; a refusal is what somebody has to look after. */
function AtGateways({ counts }: { counts: RuleListed["gateways"] }) {
  const { t } = useTranslation();
  const told = (["applied", "sent", "refused"] as const).filter((status) => counts[status]);
  if (told.length === 0) return <span className="dim">–</span>;
  return told.map((status) => (
    <div key={status} data-status={status}>
      {t(`rule.atGateway.${status}`)}: {counts[status]}
    </div>
  ));
}
