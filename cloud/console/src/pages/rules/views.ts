/** What can be looked at of a rule. */
export const VIEWS = ["firings", "document", "versions", "backtest", "explain"] as const;

export type View = (typeof VIEWS)[number];

export function viewOf(value: unknown): View | undefined {
  return VIEWS.find((one) => one === value);
}
