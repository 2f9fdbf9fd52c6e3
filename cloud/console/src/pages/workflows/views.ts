/** What can be looked at of a workflow. */
export const WORKFLOW_VIEWS = ["picture", "instances", "document", "versions"] as const;

export type View = (typeof WORKFLOW_VIEWS)[number];

export function viewOf(value: unknown): View | undefined {
  return WORKFLOW_VIEWS.find((one) => one === value);
}
