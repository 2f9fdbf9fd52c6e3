import type { TFunction } from "i18next";

/** Return a metric's value as text. */
export function shownValue(value: unknown, t: TFunction, language: string): string {
  if (typeof value === "number") return shownNumber(value, language);
  if (typeof value === "boolean") return value ? t("value.on") : t("value.off");
  return value === null || value === undefined ? "–" : String(value);
}

/** A fraction keeps its two decimals, so that a value that changes stays as wide as it is. */
function shownNumber(value: number, language: string): string {
  const decimals = Number.isInteger(value) ? 0 : Math.abs(value) < 1 ? 3 : 2;
  return value.toLocaleString(language, { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}
