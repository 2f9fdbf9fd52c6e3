/** The fields of the forms of the commands that every board has built in. What is valid is the board's to say. */
export const BUILT_IN = {
  read: [{ name: "name", kind: "metric", optional: true }],
  write: [
    { name: "name", kind: "metric" },
    { name: "value", kind: "value" },
  ],
  set_interval: [{ name: "interval", kind: "ms" }],
  identify: [{ name: "duration", kind: "ms", optional: true }],
  reboot: [],
  connect: [{ name: "gateway", kind: "gateway" }],
} as const satisfies Record<string, readonly Field[]>;

export type CommandType = keyof typeof BUILT_IN;

export type Field = {
  name: "name" | "value" | "interval" | "duration" | "gateway";
  kind: "metric" | "value" | "ms" | "gateway";
  optional?: boolean;
};

export const TYPES = Object.keys(BUILT_IN) as CommandType[];

/** Return a command's parameters as JSON has them; a field that was left empty is left out. */
export function parametersOf(fields: readonly Field[], typed: Record<string, string>): Record<string, unknown> {
  const filled = fields.map(({ name, kind }) => [name, kind, typed[name]?.trim() ?? ""] as const).filter(([, , text]) => text !== "");
  return Object.fromEntries(filled.map(([name, kind, text]) => [name, kind === "ms" || kind === "value" ? jsonOf(text) : text]));
}

/** `true`, `21.5` and `null` are what they look like; anything else is a text. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
