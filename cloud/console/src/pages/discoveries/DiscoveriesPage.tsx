import { SegmentedControl } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { listDiscoveriesInfiniteOptions } from "../../api/@tanstack/react-query.gen";
import { Empty } from "../../components/Empty";
import { ProblemNote } from "../../components/ProblemNote";
import { More, RowsComing } from "../../components/Rows";
import { useMayChange } from "../../components/useMayChange";
import { useTitle } from "../../components/useTitle";
import { FoundDevice } from "./FoundDevice";

const PAGE = 50;
const COLUMNS = 5;

const route = getRouteApi("/shell/discoveries");

/** Devices that gateways have found and that nobody has registered. */
export function DiscoveriesPage() {
  const { t } = useTranslation();
  const { dismissed } = route.useSearch();
  const navigate = useNavigate({ from: "/discoveries" });
  const mayChange = useMayChange();
  const found = useInfiniteQuery({
    ...listDiscoveriesInfiniteOptions({ query: { dismissed, limit: PAGE } }),
    initialPageParam: {},
    getNextPageParam: (page) => page.next ?? undefined,
  });
  const items = found.data?.pages.flatMap((page) => page.items) ?? [];
  useTitle(t("discovery.title"));
  return (
    <>
      <div className="bar">
        <h1>{t("discovery.title")}</h1>
        <span className="dim grow">{t("discovery.meaning")}</span>
        <SegmentedControl
          size="xs"
          aria-label={t("discovery.which")}
          value={dismissed ? "dismissed" : "waiting"}
          onChange={(wanted) => void navigate({ search: { dismissed: wanted === "dismissed" || undefined } })}
          data={[
            { value: "waiting", label: t("discovery.waiting") },
            { value: "dismissed", label: t("discovery.dismissed") },
          ]}
        />
      </div>
      <ProblemNote error={found.error} onRetry={found.refetch} />
      <div className="card">
        {found.isSuccess && items.length === 0 ? (
          <Empty title={dismissed ? t("discovery.noneDismissed") : t("discovery.empty")}>{!dismissed && t("discovery.emptyWhy")}</Empty>
        ) : (
          <div className="scroll">
            <table className="grid">
              <thead>
                <tr>
                  <th>{t("device.device")}</th>
                  <th className="wide-only">{t("discovery.says")}</th>
                  <th className="wide-only">{t("discovery.heardBy")}</th>
                  <th className="wide-only">{t("discovery.seen")}</th>
                  <th aria-label={t("discovery.decide")} />
                </tr>
              </thead>
              <tbody>
                {found.isPending && <RowsComing columns={COLUMNS} />}
                {items.map((one) => (
                  <FoundDevice key={one.device} found={one} columns={COLUMNS} mayChange={mayChange} />
                ))}
              </tbody>
            </table>
          </div>
        )}
        <More query={found} />
      </div>
    </>
  );
}
