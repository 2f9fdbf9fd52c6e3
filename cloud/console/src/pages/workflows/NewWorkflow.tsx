import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import styles from "../../components/Page.module.css";
import { FIRST_WORKFLOW } from "./document";
import { Editor } from "./Editor";

/** A workflow that is not there yet: it begins with an example that is one. */
export function NewWorkflow({ onCancel }: { onCancel: () => void }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const [text, setText] = useState(FIRST_WORKFLOW);
  return (
    <div className={styles.above}>
      <Editor
        title={t("workflow.new")}
        text={text}
        onChange={setText}
        onDeployed={(workflow) => void navigate({ to: "/workflows/$workflow", params: { workflow } })}
        onCancel={onCancel}
        mayChange
      />
    </div>
  );
}
