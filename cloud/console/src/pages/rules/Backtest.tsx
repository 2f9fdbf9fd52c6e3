import { Button, Progress, Select, TagsInput, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { showRuleOptions } from "../../api/@tanstack/react-query.gen";
import type { RuleShown } from "../../api/types.gen";
import { Empty } from "../../components/Empty";
import { type Document, read } from "../../components/documents";
import styles from "../../components/Page.module.css";
import { ProblemNote } from "../../components/ProblemNote";
import own from "./Backtest.module.css";
import { metricOf } from "./document";
import { Findings } from "./Findings";
import { useBacktest } from "./useBacktest";

const HOUR_MS = 3_600_000;
const SINCE = { "1h": HOUR_MS, "6h": 6 * HOUR_MS, "24h": 24 * HOUR_MS, "7d": 168 * HOUR_MS, "30d": 720 * HOUR_MS } as const;
const TYPED = "typed";
const NOTHING = "nothing";

type Since = keyof typeof SINCE | "range";

/** What was asked when the backtest was begun. */
export type Asked = { from: number; to: number; name: string; other?: string; document: Document };

/** Tries a version of a rule, or what is typed, on what is stored, and another one beside it. */
export function Backtest({ rule, typed }: { rule: RuleShown; typed?: string }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const { outcome, run, stop } = useBacktest();
  const draft = typed === undefined ? undefined : read(typed).document;
  const [since, setSince] = useState<Since>("24h");
  const [start, setStart] = useState("");
  const [end, setEnd] = useState("");
  const [devices, setDevices] = useState<string[]>([]);
  const [version, setVersion] = useState(draft ? TYPED : rule.version);
  const [other, setOther] = useState(draft ? rule.version : NOTHING);
  const [asked, setAsked] = useState<Asked>();
  const [problem, setProblem] = useState<unknown>();
  const names = rule.versions.map((one) => ({ value: one.version, label: one.version }));
  const choices = draft ? [...names, { value: TYPED, label: t("rule.typed") }] : names;
  const labelOf = (name: string) => (name === TYPED ? t("rule.typed") : name);

  const documentOf = async (name: string): Promise<Document> => {
    if (name === TYPED) return draft ?? {};
    return (await client.ensureQueryData(showRuleOptions({ path: { rule_id: rule.id }, query: { version: name } }))).document;
  };
  const begin = async () => {
    const now = Date.now();
    const [from, to] = since === "range" ? [Date.parse(start), Date.parse(end)] : [now - SINCE[since], now];
    const document = await documentOf(version);
    const against = other === NOTHING ? undefined : await documentOf(other);
    setAsked({ from, to, name: labelOf(version), other: against && labelOf(other), document });
    await run({ document, against, devices, start: new Date(from).toISOString(), end: new Date(to).toISOString() });
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setProblem(undefined);
    begin().catch(setProblem);
  };
  return (
    <div className={styles.lists}>
      <section className="card" aria-labelledby="backtest">
        <h2 id="backtest">{t("rule.view.backtest")}</h2>
        <form className={own.form} onSubmit={submit}>
          <Select
            size="xs"
            w={130}
            label={t("rule.sinceOf")}
            allowDeselect={false}
            value={since}
            data={[...Object.keys(SINCE), "range"].map((one) => ({ value: one, label: t(`rule.since.${one as Since}`) }))}
            onChange={(wanted) => setSince(wanted as Since)}
          />
          {since === "range" && (
            <>
              <TextInput size="xs" type="datetime-local" required withAsterisk={false} label={t("rule.from")} value={start} onChange={(event) => setStart(event.currentTarget.value)} />
              <TextInput size="xs" type="datetime-local" required withAsterisk={false} label={t("rule.to")} value={end} onChange={(event) => setEnd(event.currentTarget.value)} />
            </>
          )}
          <Select size="xs" w={130} label={t("type.version")} allowDeselect={false} value={version} data={choices} onChange={(wanted) => wanted && setVersion(wanted)} />
          <Select
            size="xs"
            w={130}
            label={t("rule.against")}
            allowDeselect={false}
            value={other}
            data={[{ value: NOTHING, label: t("rule.nothing") }, ...choices]}
            onChange={(wanted) => wanted && setOther(wanted)}
          />
          <TagsInput
            size="xs"
            className={own.devices}
            label={t("rule.devices")}
            placeholder={devices.length === 0 ? t("rule.allDevices") : undefined}
            value={devices}
            onChange={setDevices}
          />
          {outcome?.isRunning ? (
            <Button size="xs" variant="default" onClick={stop}>
              {t("rule.stop")}
            </Button>
          ) : (
            <Button size="xs" type="submit">
              {t("rule.try")}
            </Button>
          )}
        </form>
        {outcome?.isRunning && <Progress value={Math.max(outcome.share * 100, 2)} aria-label={t("rule.progress")} size="xs" radius={0} animated />}
        <ProblemNote error={problem ?? outcome?.error} />
        {outcome === undefined && <Empty title={t("rule.notTried")}>{t("rule.notTriedHow")}</Empty>}
      </section>
      {asked && outcome && outcome.error === undefined && <Findings asked={asked} outcome={outcome} looked={metricOf(asked.document.when)} />}
    </div>
  );
}
