import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { listEventsInfiniteOptions } from "../../api/@tanstack/react-query.gen";
import { Empty } from "../../components/Empty";
import links from "../../components/Page.module.css";
import { ProblemNote } from "../../components/ProblemNote";
import { More, RowsComing } from "../../components/Rows";
import { Moment } from "../../components/Time";
import styles from "./Events.module.css";

const PAGE = 10;

/** What a device has reported besides its readings. */
export function Events({ device }: { device: string }) {
  const { t } = useTranslation();
  const events = useInfiniteQuery({
    ...listEventsInfiniteOptions({ query: { device, limit: PAGE } }),
    initialPageParam: {},
    getNextPageParam: (page) => page.next ?? undefined,
  });
  const items = events.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <section className="card" aria-labelledby="events">
      <h2 id="events">{t("event.title")}</h2>
      <ProblemNote error={events.error} onRetry={events.refetch} />
      {events.isSuccess && items.length === 0 ? (
        <Empty title={t("event.empty")} />
      ) : (
        <div className="scroll">
          <table className="grid">
            <thead>
              <tr>
                <th>{t("telemetry.time")}</th>
                <th>{t("event.event")}</th>
              </tr>
            </thead>
            <tbody>
              {events.isPending && <RowsComing columns={2} rows={3} />}
              {items.map((event) => (
                <tr key={event.id} data-event={event.type}>
                  <td className="top">
                    <Moment ts={event.ts} />
                  </td>
                  <td>
                    <div className={styles.event}>
                      <span className={styles.type}>
                        <Type type={event.type} rule={event.data.rule} />
                      </span>
                      <span className={`mono ${styles.data}`}>{told(event.data)}</span>
                    </div>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <More query={events} />
    </section>
  );
}

/** An event's type, as the way to the rule that it follows from. */
function Type({ type, rule }: { type: string; rule: unknown }) {
  if (typeof rule !== "string" || !/^(rule|alarm)\./.test(type)) return type;
  return (
    <Link to="/rules/$rule" params={{ rule }} className={links.back}>
      {type}
    </Link>
  );
}

/** What an event says, without what it leaves open. */
function told(data: Record<string, unknown>): string {
  const said = Object.entries(data).filter(([, value]) => value !== null);
  return said.map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`).join("  ");
}
