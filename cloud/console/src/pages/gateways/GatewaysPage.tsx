import { Select } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { listSitesOptions, showClusterOptions } from "../../api/@tanstack/react-query.gen";
import { Empty } from "../../components/Empty";
import { ProblemNote } from "../../components/ProblemNote";
import { useTitle } from "../../components/useTitle";
import { Cluster } from "./Cluster";
import { Gateways } from "./Gateways";

const route = getRouteApi("/shell/gateways");

/** The gateways of a site, and what they say of their cluster. */
export function GatewaysPage() {
  const { t } = useTranslation();
  const navigate = useNavigate({ from: "/gateways" });
  const sites = useQuery(listSitesOptions());
  const names = sites.data?.items.map((one) => one.id) ?? [];
  const { site = names[0] } = route.useSearch();
  const shown = useQuery({ ...showClusterOptions({ path: { site_id: site ?? "" } }), enabled: site !== undefined });
  useTitle(t("gateway.title"));
  return (
    <>
      <div className="bar">
        <h1>{t("gateway.title")}</h1>
        <span className="dim grow">{t("gateway.meaning")}</span>
        {names.length > 1 && (
          <Select
            size="xs"
            w={190}
            aria-label={t("device.site")}
            allowDeselect={false}
            searchable
            value={site}
            data={names}
            onChange={(wanted) => void navigate({ search: { site: wanted === names[0] ? undefined : (wanted ?? undefined) } })}
          />
        )}
      </div>
      <ProblemNote error={sites.error ?? shown.error} onRetry={sites.error ? sites.refetch : shown.refetch} />
      {shown.data?.cluster && <Cluster told={shown.data.cluster} />}
      <section className="card" aria-label={t("gateway.title")}>
        {shown.data?.items.length === 0 ? (
          <Empty title={t("gateway.empty")}>
            <code>fieldloom gateway init</code>
          </Empty>
        ) : (
          <Gateways items={shown.data?.items} leader={shown.data?.cluster?.leader ?? undefined} />
        )}
      </section>
    </>
  );
}
