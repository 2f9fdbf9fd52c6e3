import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { Empty } from "./Empty";

export function NotFound() {
  const { t } = useTranslation();
  return (
    <main className="page">
      <div className="card">
        <Empty title={t("notFound.title")}>
          <Link to="/">{t("notFound.back")}</Link>
        </Empty>
      </div>
    </main>
  );
}
