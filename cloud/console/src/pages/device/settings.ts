import type { TwinOut } from "../../api/types.gen";

type Values = Record<string, unknown>;

/** A setting of a twin, its values as JSON; `refused` is the device's reason. */
export type Row = { path: string; desired: string; reported: string; refused: string | undefined; isMissing: boolean };

/** Return a twin setting by setting: objects are taken apart, down to what is no object or an empty one. */
export function rowsOf(twin: TwinOut): Row[] {
  const desired = new Map(flat(twin.desired));
  const reported = new Map(flat(twin.reported));
  const missing = new Map(flat(twin.delta));
  const paths = [...new Set([...desired.keys(), ...reported.keys()])].toSorted();
  return paths.map((path) => ({
    path,
    desired: desired.get(path) ?? "–",
    reported: reported.get(path) ?? "–",
    refused: Object.entries(twin.errors).find(([at]) => path === at || path.startsWith(`${at}.`))?.[1],
    isMissing: missing.has(path),
  }));
}

function flat(values: Values, prefix = ""): [string, string][] {
  return Object.entries(values).flatMap(([name, value]): [string, string][] =>
    isNested(value) ? flat(value, `${prefix}${name}.`) : [[prefix + name, JSON.stringify(value)]],
  );
}

function isNested(value: unknown): value is Values {
  return typeof value === "object" && value !== null && !Array.isArray(value) && Object.keys(value).length > 0;
}
