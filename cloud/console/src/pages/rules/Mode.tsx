import { useTranslation } from "react-i18next";
import marks from "../../components/marks.module.css";

/** Whether a rule acts, or is only judged and recorded. */
export function Mode({ mode }: { mode: "active" | "shadow" }) {
  const { t } = useTranslation();
  const isActive = mode === "active";
  return (
    <span className={marks.mark} data-mode={mode} title={isActive ? undefined : t("rule.shadowMeaning")}>
      <span className={marks.dot} data-tone={isActive ? "good" : undefined} />
      {t(`rule.mode.${mode}`)}
    </span>
  );
}
