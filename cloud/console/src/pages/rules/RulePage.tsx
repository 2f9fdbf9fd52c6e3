import { Tabs } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { lazy, Suspense, useState } from "react";
import { useTranslation } from "react-i18next";
import { removeRuleMutation, showRuleOptions } from "../../api/@tanstack/react-query.gen";
import type { FiringOut, RuleShown } from "../../api/types.gen";
import { Facts } from "../../components/Facts";
import styles from "../../components/Page.module.css";
import { PageHead } from "../../components/PageHead";
import { ProblemNote } from "../../components/ProblemNote";
import { Moment } from "../../components/Time";
import { useMayChange } from "../../components/useMayChange";
import { useTitle } from "../../components/useTitle";
import { Views } from "../../components/Views";
import { Backtest } from "./Backtest";
import { written } from "./document";
import { Explain } from "./Explain";
import { Firings } from "./Firings";
import { Mode } from "./Mode";
import { Standing } from "./Standing";
import { Switch } from "./Switch";
import { type View, VIEWS } from "./views";

const Editor = lazy(async () => ({ default: (await import("./Editor")).Editor }));
const Versions = lazy(async () => ({ default: (await import("./Versions")).Versions }));
const route = getRouteApi("/shell/rules/$rule");

/** A rule: what it did, what it says, and what it would have done. */
export function RulePage() {
  const { t } = useTranslation();
  const { rule: id } = route.useParams();
  const navigate = useNavigate();
  const client = useQueryClient();
  const mayChange = useMayChange();
  const remove = useMutation({
    ...removeRuleMutation(),
    onSuccess: async () => {
      await navigate({ to: "/rules" });
      await client.invalidateQueries({ queryKey: [{ _id: "listRules" }] });
    },
  });
  const isGoing = remove.isPending || remove.isSuccess;
  const rule = useQuery({ ...showRuleOptions({ path: { rule_id: id } }), enabled: !isGoing });
  useTitle(id);

  if (!rule.data) return <ProblemNote error={rule.error} onRetry={rule.refetch} />;
  const { mode, version, placement, updated, description } = rule.data;
  return (
    <>
      <PageHead
        back={
          <Link to="/rules" className={styles.back}>
            {t("rule.title")}
          </Link>
        }
        name={id}
      >
        <Mode mode={mode} />
        <span className="dim grow">{description}</span>
        {mayChange && <Switch rule={rule.data} isGoing={isGoing} onRemove={() => remove.mutate({ path: { rule_id: id } })} />}
      </PageHead>
      <ProblemNote error={remove.error} />
      <Facts
        facts={[
          [t("type.version"), version],
          [t("rule.runs"), t(`rule.placement.${placement}`)],
          [t("list.updated"), <Moment key="updated" ts={updated} />],
        ]}
      />
      {!isGoing && <RuleViews key={id} rule={rule.data} mayChange={mayChange} />}
    </>
  );
}

/** What can be looked at of a rule; what is typed stays while one looks at something else. */
function RuleViews({ rule, mayChange }: { rule: RuleShown; mayChange: boolean }) {
  const { t } = useTranslation();
  const { view = "firings" } = route.useSearch();
  const navigate = useNavigate({ from: "/rules/$rule" });
  const [typed, setTyped] = useState<string>();
  const [picked, setPicked] = useState<FiringOut>();
  const look = (wanted: View) => void navigate({ search: { view: wanted === "firings" ? undefined : wanted } });
  const text = typed ?? written(rule.document);
  return (
    <Views views={VIEWS} shown={view} nameOf={(one) => t(`rule.view.${one}`)} onLook={look}>
      <Tabs.Panel value="firings">
        <div className={styles.columns}>
          <Firings
            rule={rule.id}
            onExplain={(firing) => {
              setPicked(firing);
              look("explain");
            }}
          />
          <div className={styles.side}>
            <Standing rule={rule} />
          </div>
        </div>
      </Tabs.Panel>
      <Tabs.Panel value="document">
        <section className="card" aria-label={t("rule.view.document")}>
          <Suspense>
            <Editor text={text} onChange={setTyped} rule={rule} onDeployed={() => setTyped(undefined)} mayChange={mayChange} />
          </Suspense>
        </section>
      </Tabs.Panel>
      <Tabs.Panel value="versions">
        <Suspense>
          <Versions rule={rule} mayChange={mayChange} />
        </Suspense>
      </Tabs.Panel>
      <Tabs.Panel value="backtest">
        <Backtest rule={rule} typed={typed} />
      </Tabs.Panel>
      <Tabs.Panel value="explain">
        <Explain key={picked && `${picked.device} ${picked.at}`} rule={rule} picked={picked} />
      </Tabs.Panel>
    </Views>
  );
}
