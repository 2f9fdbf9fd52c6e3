import { useMutation, useQueryClient } from "@tanstack/react-query";
import { activateRuleMutation } from "../../api/@tanstack/react-query.gen";
import type { RuleShown } from "../../api/types.gen";

/** The way to put a version of a rule to work, unless somebody else has changed that meanwhile. */
export function useActivation(rule: RuleShown) {
  const client = useQueryClient();
  const { mutate, isPending, error } = useMutation({
    ...activateRuleMutation(),
    onSettled: () => {
      for (const one of ["listRules", "showRule"]) void client.invalidateQueries({ queryKey: [{ _id: one }] });
    },
  });
  const put = (version: string, mode: RuleShown["mode"]) =>
    mutate({ path: { rule_id: rule.id }, body: { version, mode }, headers: { "if-match": `"${rule.revision}"` } });
  return { put, isPending, error };
}
