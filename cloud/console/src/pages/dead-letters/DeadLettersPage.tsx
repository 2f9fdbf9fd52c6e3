import { Button } from "@mantine/core";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { DeadLetters } from "../../components/DeadLetters";
import { useTitle } from "../../components/useTitle";

const route = getRouteApi("/shell/dead-letters");

/** The dead letters of the whole fleet. */
export function DeadLettersPage() {
  const { t } = useTranslation();
  const { device } = route.useSearch();
  const navigate = useNavigate({ from: "/dead-letters" });
  useTitle(t("deadLetters.title"));
  return (
    <>
      <div className="bar">
        <h1>{t("deadLetters.title")}</h1>
        <span className="dim grow">{t("deadLetters.meaning")}</span>
        {device !== undefined && (
          <Button size="xs" variant="default" onClick={() => void navigate({ search: {} })}>
            {t("deadLetters.of", { device })} ✕
          </Button>
        )}
      </div>
      <div className="card">
        <DeadLetters key={device} device={device} />
      </div>
    </>
  );
}
