import { Button, SegmentedControl } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { Empty } from "../../components/Empty";
import { Moment } from "../../components/Time";
import type { Asked } from "./Backtest";
import own from "./Backtest.module.css";
import type { Looked } from "./document";
import { FiringsChart } from "./FiringsChart";
import { MetricChart } from "./MetricChart";
import type { Fired, Outcome } from "./useBacktest";
import { Values } from "../../components/Values";

const ROWS = 50;

type Which = "all" | "rule" | "against";

/** A firing, and which of two versions has it. */
type Found = { fired: Fired; of: Which };

/** What a backtest has found: in numbers, over time, and one by one. */
export function Findings({ asked, outcome, looked }: { asked: Asked; outcome: Outcome; looked?: Looked }) {
  const { t, i18n } = useTranslation();
  const { firings, summary } = outcome;
  const found = useMemo(() => compared(firings), [firings]);
  const devices = useMemo(() => byCount(firings), [firings]);
  const counts = summary ? summary.fired : counted(firings);
  const number = (value: number | undefined) => (value ?? 0).toLocaleString(i18n.language);
  const hasOther = asked.other !== undefined;
  return (
    <>
      <section className="card" aria-label={t("rule.summary")} data-backtest={outcome.isRunning ? "running" : summary ? "done" : "stopped"}>
        <dl className={own.numbers}>
          <div>
            <dt>{t("rule.judged")}</dt>
            <dd data-number="events">{number(outcome.events)}</dd>
          </div>
          <div>
            <dt>
              <span className={own.swatch} />
              {t("rule.firingsOf", { version: asked.name })}
            </dt>
            <dd data-number="rule">{number(counts.rule)}</dd>
          </div>
          {hasOther && (
            <>
              <div>
                <dt>
                  <span className={own.swatch} data-of="against" />
                  {t("rule.firingsOf", { version: asked.other })}
                </dt>
                <dd data-number="against">{number(counts.against)}</dd>
              </div>
              <div>
                <dt>{t("rule.only", { version: asked.name })}</dt>
                <dd data-number="only-rule">{number(summary?.only.rule)}</dd>
              </div>
              <div>
                <dt>{t("rule.only", { version: asked.other })}</dt>
                <dd data-number="only-against">{number(summary?.only.against)}</dd>
              </div>
            </>
          )}
        </dl>
        {summary?.error && <p className={`${own.note} small`}>{t("rule.incomplete", { reason: summary.error })}</p>}
        {firings.length > 0 && (
          <figure className={own.figure}>
            <figcaption className={own.caption}>
              <b>{t("rule.overTime")}</b>
            </figcaption>
            <FiringsChart firings={firings} hasOther={hasOther} from={asked.from} to={asked.to} label={t("rule.overTime")} language={i18n.language} />
          </figure>
        )}
        {!outcome.isRunning && looked && <MetricChart looked={looked} firings={firings} devices={devices} from={asked.from} to={asked.to} />}
        {summary && firings.length === 0 && <Empty title={t("rule.wouldNot")}>{t("rule.wouldNotHow")}</Empty>}
      </section>
      {found.length > 0 && <Table found={found} asked={asked} />}
    </>
  );
}

function Table({ found, asked }: { found: Found[]; asked: Asked }) {
  const { t } = useTranslation();
  const [which, setWhich] = useState<Which>("all");
  const [rows, setRows] = useState(ROWS);
  const shown = which === "all" ? found : found.filter((one) => one.of === which);
  return (
    <section className="card" aria-labelledby="would-fire">
      <header>
        <h2 id="would-fire" className="grow">
          {t("rule.view.firings")}
        </h2>
        {asked.other !== undefined && (
          <SegmentedControl
            size="xs"
            aria-label={t("alarm.which")}
            value={which}
            onChange={(wanted) => setWhich(wanted as Which)}
            data={[
              { value: "all", label: t("alarm.all") },
              { value: "rule", label: t("rule.only", { version: asked.name }) },
              { value: "against", label: t("rule.only", { version: asked.other }) },
            ]}
          />
        )}
      </header>
      {shown.length === 0 && <Empty title={t("rule.noDifference")} />}
      {shown.length > 0 && (
        <div className="scroll">
          <table className="grid">
            <thead>
              <tr>
                <th>{t("telemetry.time")}</th>
                <th>{t("device.device")}</th>
                {asked.other !== undefined && <th>{t("type.version")}</th>}
                <th>{t("rule.why")}</th>
                <th className="wide-only">{t("rule.wouldDo")}</th>
              </tr>
            </thead>
            <tbody>
              {shown.slice(0, rows).map(({ fired, of }) => (
                <tr key={keyOf(fired)} data-fired={fired.device} data-of={of}>
                  <td>
                    <Moment ts={fired.at} />
                  </td>
                  <td>
                    <Link to="/devices/$device" params={{ device: fired.device }} className="name">
                      {fired.device}
                    </Link>
                    {!fired.holds && <div className="dim small">{t("rule.over")}</div>}
                  </td>
                  {asked.other !== undefined && <td>{of === "all" ? t("rule.both") : of === "rule" ? asked.name : asked.other}</td>}
                  <td>
                    <Values values={fired.values} />
                  </td>
                  <td className="wide-only mono">{fired.effects.map((effect) => effect.kind).join(", ")}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {shown.length > rows && (
        <div className="body">
          <Button size="xs" variant="default" onClick={() => setRows(rows + ROWS)}>
            {t("list.more")}
          </Button>
        </div>
      )}
    </section>
  );
}

const keyOf = ({ device, at, holds }: Fired) => `${at} ${device} ${holds}`;

/** Return each firing once, the newest first, with whose it is. */
function compared(firings: Fired[]): Found[] {
  const found = new Map<string, Found>();
  for (const fired of firings) {
    const had = found.get(keyOf(fired));
    found.set(keyOf(fired), had && had.of !== fired.of ? { ...had, of: "all" } : { fired, of: fired.of });
  }
  return [...found.values()].toSorted((one, other) => (one.fired.at < other.fired.at ? 1 : -1));
}

/** Return the devices for which something has fired, the most frequent first. */
function byCount(firings: Fired[]): string[] {
  const counts = new Map<string, number>();
  for (const { device } of firings) counts.set(device, (counts.get(device) ?? 0) + 1);
  return [...counts].toSorted(([, one], [, other]) => other - one).map(([device]) => device);
}

function counted(firings: Fired[]): Record<string, number> {
  return { rule: firings.filter((one) => one.of === "rule").length, against: firings.filter((one) => one.of === "against").length };
}
