/** What a group's devices are found by, as far as the console asks for it; a tag is KEY:VALUE. */
export type Found = { q?: string; type?: string; status?: string; tag?: string };

export const FOUND_BY = ["q", "type", "status", "tag"] as const satisfies readonly (keyof Found)[];

/** Return a search as a group keeps it; what was left empty takes any. */
export function queryOf(found: Found): Record<string, unknown> {
  const filled = FOUND_BY.map((name) => [name, found[name]?.trim() ?? ""] as const).filter(([, text]) => text !== "");
  return Object.fromEntries(filled.map(([name, text]) => [name, name === "tag" ? [text] : text]));
}

/** Return a group's query as one line; an empty one finds every device. */
export function shownQuery(query: Record<string, unknown>): string {
  const told = Object.entries(query).map(([name, value]) => `${name}=${Array.isArray(value) ? value.join(",") : String(value)}`);
  return told.join("  ") || "*";
}
