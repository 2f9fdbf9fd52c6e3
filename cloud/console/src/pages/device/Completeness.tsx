import { useQuery } from "@tanstack/react-query";
import type { TFunction } from "i18next";
import { useTranslation } from "react-i18next";
import { showCompletenessOptions } from "../../api/@tanstack/react-query.gen";
import type { Completeness as Verdict } from "../../api/types.gen";
import marks from "../../components/marks.module.css";
import styles from "./Completeness.module.css";

const ASKED_EVERY_MS = 10_000;

/** Whether all that the device recorded since a moment is stored, and how much is where if it is not. */
export function Completeness({ device, start }: { device: string; start: string }) {
  const { t, i18n } = useTranslation();
  const { data } = useQuery({
    ...showCompletenessOptions({ query: { device, start } }),
    refetchInterval: ASKED_EVERY_MS,
    staleTime: 0,
  });
  if (!data) return null;
  const why = [...new Set([...data.reasons, ...data.missing.map((one) => one.reason)])].filter(Boolean);
  return (
    <div className={styles.marks} role="status" aria-label={t("completeness.meaning")} title={why.join("\n")} data-completeness={data.status}>
      {told(data, t, i18n.language).map(([tone, text]) => (
        <span key={text} className={marks.mark}>
          <span className={marks.dot} data-tone={tone} />
          {text}
        </span>
      ))}
    </div>
  );
}

type Mark = [tone: "good" | "warn" | "bad" | "idle", text: string];

function told(verdict: Verdict, t: TFunction, language: string): Mark[] {
  const found: Mark[] = [];
  const number = (...where: string[]) =>
    verdict.missing.filter((one) => where.includes(one.where)).reduce((sum, one) => sum + (one.records ?? 0), 0);
  const toCome = number("not_sent", "in_gateway", "unknown");
  if (toCome > 0) found.push(["warn", t("completeness.toCome", { number: toCome })]);
  else if (verdict.missing.some((one) => one.records === null)) found.push(["warn", t("completeness.more")]);
  if (number("lost") > 0) found.push(["bad", t("completeness.lost", { number: number("lost") })]);
  if (number("dropped") > 0) found.push(["bad", t("completeness.dropped", { number: number("dropped") })]);
  if (found.length > 0) return found;
  if (verdict.status === "complete") return [["good", t("completeness.complete")]];
  if (verdict.settled === null) return [["idle", t("completeness.open")]];
  const time = new Date(verdict.settled).toLocaleTimeString(language, { hourCycle: "h23" });
  return [["good", t("completeness.until", { time })]];
}
