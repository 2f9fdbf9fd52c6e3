import { Button, SegmentedControl, Skeleton, Textarea, TextInput } from "@mantine/core";
import { useMutation, useQuery } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { explainRuleMutation } from "../../api/@tanstack/react-query.gen";
import { explainRule, listEvents, queryTelemetry, showRule } from "../../api/sdk.gen";
import type { Explained, FiringOut, RuleShown } from "../../api/types.gen";
import { Empty } from "../../components/Empty";
import marks from "../../components/marks.module.css";
import styles from "../../components/Page.module.css";
import { ProblemNote } from "../../components/ProblemNote";
import { parsedObject } from "../../json";
import { Condition } from "./Condition";
import type { Document } from "../../components/documents";
import own from "./Rules.module.css";

const TELEMETRY = "device.telemetry";
const MOST_EVENTS = 100;
const EXAMPLE = { temperature: 81 };

type Event = { source: string; type: string; ts?: string; data: Record<string, unknown> };

/** What a firing came from, and what its version makes of that by itself. */
type Looked = { event: Event; document: Document; told: Explained };

/** Why a rule fires for an event, or does not: one that is typed, or the one that a firing came from. */
export function Explain({ rule, picked }: { rule: RuleShown; picked?: FiringOut }) {
  const looked = useQuery({
    queryKey: ["explain firing", picked?.rule, picked?.version, picked?.device, picked?.event],
    queryFn: () => lookInto(picked as FiringOut),
    enabled: picked !== undefined,
    staleTime: Number.POSITIVE_INFINITY,
  });
  if (picked === undefined) return <Question rule={rule} />;
  if (looked.isPending) return <Skeleton height={200} />;
  return (
    <>
      <ProblemNote error={looked.error} onRetry={looked.refetch} />
      <Question key={looked.status} rule={rule} looked={looked.data} />
    </>
  );
}

function Question({ rule, looked }: { rule: RuleShown; looked?: Looked }) {
  const { t } = useTranslation();
  const event = looked?.event;
  const [source, setSource] = useState(event?.source ?? "");
  const [type, setType] = useState(event?.type ?? TELEMETRY);
  const [data, setData] = useState(JSON.stringify(event?.data ?? EXAMPLE, null, 2));
  const [memory, setMemory] = useState(looked ? "nothing" : "now");
  const explain = useMutation(explainRuleMutation());
  const answer = explain.data ?? looked?.told;
  const values = parsedObject(data);
  const submit = (sent: FormEvent) => {
    sent.preventDefault();
    if (values === undefined) return;
    const told = { source: source.trim(), type: type.trim(), data: values };
    const asked = memory === "now" ? { rule: rule.id, event: told } : { document: looked?.document ?? rule.document, event: { ...told, ts: event?.ts } };
    explain.mutate({ body: asked });
  };
  return (
    <div className={styles.columns}>
      <section className="card" aria-labelledby="explained">
        <h2 id="explained">{t("rule.explained")}</h2>
        {answer ? <Answer told={answer} /> : <Empty title={t("rule.notAsked")}>{t("rule.notAskedHow")}</Empty>}
      </section>
      <section className={`card ${styles.side}`} aria-labelledby="question">
        <h2 id="question">{looked ? t("rule.eventOfFiring") : t("event.event")}</h2>
        <form className={own.form} onSubmit={submit}>
          <TextInput size="xs" label={t("device.device")} required withAsterisk={false} value={source} onChange={(change) => setSource(change.currentTarget.value)} />
          <TextInput size="xs" label={t("device.type")} required withAsterisk={false} value={type} onChange={(change) => setType(change.currentTarget.value)} />
          <Textarea
            size="xs"
            label={t("rule.data")}
            classNames={{ input: "mono" }}
            autosize
            minRows={4}
            maxRows={16}
            spellCheck={false}
            value={data}
            error={values === undefined && t("twin.noObject")}
            onChange={(change) => setData(change.currentTarget.value)}
          />
          <SegmentedControl
            size="xs"
            aria-label={t("rule.memory")}
            value={memory}
            onChange={setMemory}
            data={[
              { value: "now", label: t("rule.withMemory") },
              { value: "nothing", label: t("rule.withoutMemory") },
            ]}
          />
          <p className="dim small">{memory === "now" ? t("rule.withMemoryWhy") : t("rule.withoutMemoryWhy")}</p>
          <ProblemNote error={explain.error} />
          <Button type="submit" size="xs" loading={explain.isPending} disabled={values === undefined}>
            {t("rule.view.explain")}
          </Button>
        </form>
      </section>
    </div>
  );
}

function Answer({ told }: { told: Explained }) {
  const { t } = useTranslation();
  return (
    <div className="body" role="status" data-fires={told.fires}>
      <p className={own.answer}>
        <span className={marks.mark}>
          <span className={marks.dot} data-tone={told.fires ? "good" : undefined} />
          <b>{told.fires ? t("rule.fires") : t("rule.firesNot")}</b>
        </span>{" "}
        <span className="dim">{told.reason}</span>
      </p>
      <ul className={own.tree}>
        <Condition part={told.condition} />
      </ul>
    </div>
  );
}

async function lookInto(firing: FiringOut): Promise<Looked> {
  const event = await eventOf(firing);
  const version = await showRule({ path: { rule_id: firing.rule }, query: { version: firing.version }, throwOnError: true });
  const document = version.data.document;
  const { data: told } = await explainRule({ body: { document, event }, throwOnError: true });
  return { event, document, told };
}

/** Return the whole event of a firing where it is stored, else what the rule has looked at. */
async function eventOf(firing: FiringOut): Promise<Event> {
  const { type = TELEMETRY, ts = 0 } = firing.event as { type?: string; ts?: number };
  const moment = new Date(ts).toISOString();
  const known = { source: firing.device, type, ts: moment, data: firing.values };
  if (type === TELEMETRY) {
    const query = { device: [firing.device], start: moment, end: new Date(ts + 1).toISOString() };
    const { data } = await queryTelemetry({ query, throwOnError: true });
    const values = data.series.flatMap(({ metric, points }) => (points[0] ? [[metric, points[0][1]] as const] : []));
    // What it has looked at is exact; the series hold numbers alone.
    const exact = Object.entries(firing.values).filter(([name]) => !name.includes("."));
    return values.length > 0 ? { ...known, data: Object.fromEntries([...values, ...exact]) } : known;
  }
  const { data } = await listEvents({ query: { device: firing.device, type, limit: MOST_EVENTS }, throwOnError: true });
  const found = data.items.find((one) => Date.parse(one.ts) === ts);
  return found ? { ...known, data: found.data } : known;
}
