import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { listDeadLettersInfiniteOptions } from "../api/@tanstack/react-query.gen";
import type { DeadLetterOut } from "../api/types.gen";
import { Empty } from "./Empty";
import styles from "./DeadLetters.module.css";
import { ProblemNote } from "./ProblemNote";
import { More, RowsComing } from "./Rows";
import { Moment } from "./Time";

const PAGE = 20;

/** What could not be used, with the reason: of one device, or of all. */
export function DeadLetters({ device }: { device?: string }) {
  const { t } = useTranslation();
  const letters = useInfiniteQuery({
    ...listDeadLettersInfiniteOptions({ query: { device, limit: PAGE } }),
    initialPageParam: {},
    getNextPageParam: (page) => page.next ?? undefined,
  });
  const items = letters.data?.pages.flatMap((page) => page.items) ?? [];
  if (letters.isSuccess && items.length === 0) return <Empty title={t("deadLetters.empty")}>{t("deadLetters.emptyWhy")}</Empty>;
  return (
    <>
      <ProblemNote error={letters.error} onRetry={letters.refetch} />
      <div className="scroll">
        <table className="grid">
          <thead>
            <tr>
              <th>{t("telemetry.time")}</th>
              {device === undefined && <th>{t("device.device")}</th>}
              <th>{t("deadLetters.reason")}</th>
              <th className="wide-only">{t("deadLetters.gateway")}</th>
            </tr>
          </thead>
          <tbody>
            {letters.isPending && <RowsComing columns={4} rows={4} />}
            {items.map((letter) => (
              <tr key={letter.id} data-letter={letter.id}>
                <td className="top">
                  <Moment ts={letter.ts} />
                </td>
                {device === undefined && (
                  <td className="top">
                    {letter.device ? (
                      <Link to="/dead-letters" search={{ device: letter.device }}>
                        {letter.device}
                      </Link>
                    ) : (
                      <span className="dim">–</span>
                    )}
                  </td>
                )}
                <td className="record">
                  {letter.reason}
                  <Content letter={letter} />
                </td>
                <td className="top wide-only dim">{letter.gateway}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <More query={letters} />
    </>
  );
}

function Content({ letter }: { letter: DeadLetterOut }) {
  const { t } = useTranslation();
  return (
    <details className={styles.content}>
      <summary>{t("deadLetters.content")}</summary>
      <pre className="mono">{JSON.stringify(letter.record, null, 2)}</pre>
    </details>
  );
}
