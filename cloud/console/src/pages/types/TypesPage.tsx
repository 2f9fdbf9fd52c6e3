import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { listTypesInfiniteOptions } from "../../api/@tanstack/react-query.gen";
import { Empty } from "../../components/Empty";
import { ProblemNote } from "../../components/ProblemNote";
import { More, RowsComing } from "../../components/Rows";
import { Moment } from "../../components/Time";
import { useTitle } from "../../components/useTitle";

const PAGE = 50;

/** All device types in their newest versions. */
export function TypesPage() {
  const { t } = useTranslation();
  const types = useInfiniteQuery({
    ...listTypesInfiniteOptions({ query: { limit: PAGE } }),
    initialPageParam: {},
    getNextPageParam: (page) => page.next ?? undefined,
  });
  const items = types.data?.pages.flatMap((page) => page.items) ?? [];
  useTitle(t("type.title"));
  return (
    <>
      <div className="bar">
        <h1>{t("type.title")}</h1>
        <span className="dim grow">{t("type.meaning")}</span>
      </div>
      <ProblemNote error={types.error} onRetry={types.refetch} />
      <div className="card">
        {types.isSuccess && items.length === 0 ? (
          <Empty title={t("type.empty")}>
            {t("type.emptyHow")} <code>fieldloom type put pump pump.json</code>
          </Empty>
        ) : (
          <div className="scroll">
            <table className="grid">
              <thead>
                <tr>
                  <th>{t("device.type")}</th>
                  <th>{t("type.version")}</th>
                  <th>{t("type.metrics")}</th>
                  <th>{t("command.title")}</th>
                  <th className="wide-only">{t("list.updated")}</th>
                </tr>
              </thead>
              <tbody>
                {types.isPending && <RowsComing columns={5} />}
                {items.map(({ id, version, created, definition }) => (
                  <tr key={id} data-type={id}>
                    <td>
                      <Link to="/types/$type" params={{ type: id }} className="name">
                        {id}
                      </Link>
                      {definition.name && <div className="dim small">{definition.name}</div>}
                    </td>
                    <td>{version}</td>
                    <td>{Object.keys(definition.metrics ?? {}).join(", ") || "–"}</td>
                    <td>{Object.keys(definition.commands ?? {}).join(", ") || "–"}</td>
                    <td className="wide-only dim">
                      <Moment ts={created} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
        <More query={types} />
      </div>
    </>
  );
}
