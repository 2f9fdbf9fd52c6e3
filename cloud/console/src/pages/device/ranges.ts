/** Which stretch of time a chart shows; from the API come raw points, or means a window where those would be too many. */
export const RANGES = {
  "5m": { ms: 5 * 60_000, window: undefined },
  "15m": { ms: 15 * 60_000, window: undefined },
  "1h": { ms: 3_600_000, window: "10s" },
  "6h": { ms: 6 * 3_600_000, window: "1m" },
  "24h": { ms: 24 * 3_600_000, window: "5m" },
} as const;

export type Range = keyof typeof RANGES;

export const DEFAULT_RANGE: Range = "5m";

export function rangeOf(value: unknown): Range | undefined {
  return typeof value === "string" && value in RANGES ? (value as Range) : undefined;
}
