import type { CommandKind } from "../api/types.gen";

/** The fields of the forms of the commands that every board has built in. What is valid is the board's to say. */
export const BUILT_IN = {
  read: [{ name: "name", kind: "metric", isOptional: true }],
  write: [
    { name: "name", kind: "metric" },
    { name: "value", kind: "value" },
  ],
  set_interval: [{ name: "interval", kind: "ms" }],
  identify: [{ name: "duration", kind: "ms", isOptional: true }],
  reboot: [],
  connect: [{ name: "gateway", kind: "gateway" }],
} as const satisfies Record<string, readonly (Field & { name: BuiltInName })[]>;

export type BuiltIn = keyof typeof BUILT_IN;
export type BuiltInName = "name" | "value" | "interval" | "duration" | "gateway";

/** `label` and `hint` come from a type's schema; what is built in has its words in the languages of the console. */
export type Field = {
  name: string;
  kind: "metric" | "value" | "ms" | "gateway" | "number" | "text" | "choice" | "json";
  isOptional?: boolean;
  label?: string;
  hint?: string;
  choices?: string[];
};

/** The name of the one field that holds all parameters, where a schema does not name them. */
export const ALL = "";

type Property = { type?: unknown; enum?: unknown; title?: unknown; description?: unknown };

/** Return the form of a command of a device type, by the JSON Schema of its parameters. */
export function fieldsOf({ parameters: schema = {} }: CommandKind): Field[] {
  const properties = Object.entries((schema.properties ?? {}) as Record<string, Property>);
  if (properties.length === 0) return schema.additionalProperties === false ? [] : [{ name: ALL, kind: "json", isOptional: true }];
  const required = Array.isArray(schema.required) ? schema.required : [];
  return properties.map(([name, property]) => {
    const choices = choicesOf(property);
    return {
      name,
      kind: choices ? "choice" : kindOf(property),
      choices,
      isOptional: !required.includes(name),
      label: typeof property.title === "string" ? property.title : name,
      hint: typeof property.description === "string" ? property.description : undefined,
    };
  });
}

function choicesOf(property: Property): string[] | undefined {
  if (property.type === "boolean") return ["true", "false"];
  return Array.isArray(property.enum) ? property.enum.map((one) => JSON.stringify(one)) : undefined;
}

function kindOf({ type }: Property): Field["kind"] {
  if (type === "number" || type === "integer") return "number";
  return type === "string" ? "text" : "json";
}

const TEXTS = new Set<Field["kind"]>(["metric", "gateway", "text"]);

/** Return a command's parameters as JSON has them; a field that was left empty is left out. */
export function parametersOf(fields: readonly Field[], typed: Record<string, string>): Record<string, unknown> {
  const filled = fields.map(({ name, kind }) => [name, kind, typed[name]?.trim() ?? ""] as const).filter(([, , text]) => text !== "");
  const parameters = filled.map(([name, kind, text]) => [name, TEXTS.has(kind) ? text : jsonOf(text)] as const);
  const [only] = parameters;
  // What is no object is refused by the cloud, with its reason.
  return only?.[0] === ALL ? (only[1] as Record<string, unknown>) : Object.fromEntries(parameters);
}

/** `true`, `21.5` and `null` are what they look like; anything else is a text. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
