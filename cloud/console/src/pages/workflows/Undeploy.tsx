import { Button } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { undeployWorkflowMutation } from "../../api/@tanstack/react-query.gen";
import type { WorkflowOut } from "../../api/types.gen";
import { ProblemNote } from "../../components/ProblemNote";

type UndeployProps = {
  workflow: WorkflowOut;
  /** The one version; without it all of them, and the page is left. */
  version?: string;
  onGoing?: (isGoing: boolean) => void;
};

/** Lets a workflow, or a version of it, start nothing any more. */
export function Undeploy({ workflow, version, onGoing }: UndeployProps) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const navigate = useNavigate();
  const [isSure, setIsSure] = useState(false);
  const isAll = version === undefined;
  const undeploy = useMutation({
    ...undeployWorkflowMutation(),
    onMutate: () => onGoing?.(true),
    onError: () => onGoing?.(false),
    onSuccess: async () => {
      if (isAll) await navigate({ to: "/workflows" });
      for (const one of ["listWorkflows", ...(isAll ? [] : ["showWorkflow", "showWorkflowGraph"])]) void client.invalidateQueries({ queryKey: [{ _id: one }] });
    },
  });
  const go = () => undeploy.mutate({ path: { workflow_id: workflow.id }, query: { version }, headers: { "if-match": `"${workflow.revision}"` } });
  return (
    <>
      <Button
        size={isAll ? "compact-sm" : "compact-xs"}
        variant="default"
        loading={undeploy.isPending}
        title={t("workflow.undeployMeaning")}
        onBlur={() => setIsSure(false)}
        onClick={() => (isSure ? go() : setIsSure(true))}
      >
        {isSure ? t("workflow.reallyUndeploy") : isAll ? t("workflow.undeploy") : t("workflow.undeployVersion", { version })}
      </Button>
      <ProblemNote error={undeploy.error} />
    </>
  );
}
