import { useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { listGroupsInfiniteOptions } from "../../api/@tanstack/react-query.gen";
import { Empty } from "../../components/Empty";
import styles from "../../components/Page.module.css";
import { ProblemNote } from "../../components/ProblemNote";
import { More, RowsComing } from "../../components/Rows";
import { Moment } from "../../components/Time";
import { useMayChange } from "../../components/useMayChange";
import { useTitle } from "../../components/useTitle";
import { NewGroup } from "./NewGroup";
import { shownQuery } from "./query";

const PAGE = 50;

const route = getRouteApi("/shell/groups");

/** All groups, and the way to a new one. */
export function GroupsPage() {
  const { t } = useTranslation();
  const search = route.useSearch();
  const mayChange = useMayChange();
  const groups = useInfiniteQuery({
    ...listGroupsInfiniteOptions({ query: { limit: PAGE } }),
    initialPageParam: {},
    getNextPageParam: (page) => page.next ?? undefined,
  });
  const items = groups.data?.pages.flatMap((page) => page.items) ?? [];
  useTitle(t("group.title"));
  return (
    <>
      <div className="bar">
        <h1>{t("group.title")}</h1>
        <span className="dim grow">{t("group.meaning")}</span>
      </div>
      <ProblemNote error={groups.error} onRetry={groups.refetch} />
      <div className={mayChange ? styles.columns : undefined}>
        <section className="card" aria-label={t("group.title")}>
          {groups.isSuccess && items.length === 0 ? (
            <Empty title={t("group.empty")} />
          ) : (
            <div className="scroll">
              <table className="grid">
                <thead>
                  <tr>
                    <th>{t("group.group")}</th>
                    <th>{t("group.members")}</th>
                    <th className="wide-only">{t("list.updated")}</th>
                  </tr>
                </thead>
                <tbody>
                  {groups.isPending && <RowsComing columns={3} />}
                  {items.map((group) => (
                    <tr key={group.id} data-group={group.id}>
                      <td>
                        <Link to="/groups/$group" params={{ group: group.id }} className="name">
                          {group.name}
                        </Link>
                        {group.name !== group.id && <div className="dim small">{group.id}</div>}
                      </td>
                      <td>{group.query ? <span className="mono">{shownQuery(group.query)}</span> : t("group.listed")}</td>
                      <td className="wide-only dim">
                        <Moment ts={group.updated} />
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )}
          <More query={groups} />
        </section>
        {mayChange && (
          <div className={styles.side}>
            <NewGroup key={JSON.stringify(search)} found={search} />
          </div>
        )}
      </div>
    </>
  );
}
