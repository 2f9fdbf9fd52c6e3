import { Button, SegmentedControl, Select } from "@mantine/core";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { Alarms } from "../../components/Alarms";
import { Empty } from "../../components/Empty";
import { SEVERITIES, severityOf } from "../../components/Severity";
import { useMayChange } from "../../components/useMayChange";
import { useTitle } from "../../components/useTitle";
import { Mutes } from "./Mutes";

const route = getRouteApi("/shell/alarms");

/** What is wrong in the whole fleet, and what is muted. */
export function AlarmsPage() {
  const { t } = useTranslation();
  const { which, severity, device } = route.useSearch();
  const navigate = useNavigate({ from: "/alarms" });
  const mayChange = useMayChange();
  useTitle(t("alarm.title"));
  return (
    <>
      <div className="bar">
        <h1>{t("alarm.title")}</h1>
        <span className="dim grow">{t("alarm.meaning")}</span>
        {device !== undefined && (
          <Button size="xs" variant="default" onClick={() => void navigate({ search: (had) => ({ ...had, device: undefined }) })}>
            {t("deadLetters.of", { device })} ✕
          </Button>
        )}
        <Select
          size="xs"
          w={190}
          aria-label={t("alarm.leastSeverity")}
          allowDeselect={false}
          value={severity ?? "info"}
          onChange={(wanted) => void navigate({ search: (had) => ({ ...had, severity: wanted === "info" ? undefined : severityOf(wanted) }) })}
          data={SEVERITIES.map((one) => ({ value: one, label: one === "info" ? t("alarm.anySeverity") : t("alarm.atLeast", { severity: t(`alarm.severity.${one}`) }) }))}
        />
        <SegmentedControl
          size="xs"
          aria-label={t("alarm.which")}
          value={which ?? "open"}
          onChange={(wanted) => void navigate({ search: (had) => ({ ...had, which: wanted === "all" ? ("all" as const) : undefined }) })}
          data={[
            { value: "open", label: t("alarm.open") },
            { value: "all", label: t("alarm.all") },
          ]}
        />
      </div>
      <Mutes mayChange={mayChange} />
      <section className="card" aria-label={t("alarm.title")}>
        <Alarms device={device} all={which === "all"} severity={severity} empty={<Empty title={which === "all" ? t("alarm.empty") : t("alarm.noneOpen")} />} />
      </section>
    </>
  );
}
