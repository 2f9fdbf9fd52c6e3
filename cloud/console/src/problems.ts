/** A refusal as the API tells it (RFC 9457). */
export type Problem = { title: string; status?: number; detail?: string; errors?: { path: string; reason: string }[] };

/** Return what went wrong in one shape: a problem of the API, or a network that did not answer. */
export function problemOf(error: unknown): Problem | null {
  if (error === null || error === undefined) return null;
  if (typeof error === "object" && "title" in error && typeof error.title === "string") return error as Problem;
  return { title: "", detail: error instanceof Error ? error.message : String(error) };
}

export function isLoggedOut(error: unknown): boolean {
  return problemOf(error)?.status === 401;
}
