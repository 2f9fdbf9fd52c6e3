import { Button } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { startWorkflowMutation } from "../../api/@tanstack/react-query.gen";
import type { WorkflowOut } from "../../api/types.gen";
import { parametersOf } from "../../components/commandFields";
import { FieldInput } from "../../components/FieldInput";
import pages from "../../components/Page.module.css";
import { ProblemNote } from "../../components/ProblemNote";
import { fieldsOf } from "./document";
import own from "./Workflows.module.css";

/** Starts an instance with variables; who asks twice, since no answer came, starts one. */
export function StartForm({ workflow }: { workflow: WorkflowOut }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const [typed, setTyped] = useState<Record<string, string>>({});
  const [key, setKey] = useState(() => crypto.randomUUID());
  const fields = fieldsOf(workflow.document);
  const start = useMutation({
    ...startWorkflowMutation(),
    onSuccess: () => {
      setKey(crypto.randomUUID());
      for (const one of ["listInstances", "showWorkflow", "showWorkflowGraph"]) void client.invalidateQueries({ queryKey: [{ _id: one }] });
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    start.mutate({ path: { workflow_id: workflow.id }, body: { variables: parametersOf(fields, typed) }, headers: { "idempotency-key": key } });
  };
  const change = (name: string, value: string) => {
    setKey(crypto.randomUUID());
    setTyped((had) => ({ ...had, [name]: value }));
  };
  return (
    <section className="card" aria-labelledby="start">
      <h2 id="start">{t("workflow.start")}</h2>
      <form className={own.form} onSubmit={submit}>
        {fields.map((field) => (
          <FieldInput key={field.name} field={field} value={typed[field.name] ?? ""} onChange={(value) => change(field.name, value)} />
        ))}
        <ProblemNote error={start.error} />
        {start.data && (
          <p role="status" data-started={start.data.id}>
            {start.data.outcome === "queued" ? (
              t("workflow.queued")
            ) : (
              <>
                {start.data.outcome === "sent" ? t("workflow.sent") : t("workflow.started")}{" "}
                <Link to="/instances/$instance" params={{ instance: start.data.id }} className={pages.inText}>
                  {start.data.id}
                </Link>
              </>
            )}
          </p>
        )}
        <Button type="submit" size="xs" loading={start.isPending}>
          {t("workflow.start")}
        </Button>
      </form>
    </section>
  );
}
