import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import styles from "../../components/Page.module.css";
import { Editor } from "./Editor";
import { FIRST_RULE } from "./document";

/** A rule that is not there yet: it begins with an example that is one. */
export function NewRule({ onCancel }: { onCancel: () => void }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const [text, setText] = useState(FIRST_RULE);
  return (
    <section className={`card ${styles.above}`} aria-labelledby="new-rule">
      <h2 id="new-rule">{t("rule.new")}</h2>
      <Editor text={text} onChange={setText} onDeployed={(rule) => void navigate({ to: "/rules/$rule", params: { rule } })} onCancel={onCancel} mayChange />
    </section>
  );
}
