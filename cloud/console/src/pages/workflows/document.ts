import { type Field } from "../../components/commandFields";
import { type Document, writtenBy } from "../../components/documents";
import { isObject } from "../../json";

export const FIRST_WORKFLOW = `id: door-left-open
version: 1.0.0
description: Raises an alarm when a door stays open for ten minutes, and clears it when it is closed
triggers:
  - event: {type: door.opened}
initial_state: closing
states:
  closing:
    type: wait
    event: {type: door.closed}     # of the device that the workflow is about
    timeout: 10m
    transitions: [{target: closed}]
    on_error: [{target: warn}]
  warn:
    type: task
    actions: [{raise_alarm: {alarm: door-open, severity: major}}]
    transitions: [{target: late}]
  late:
    type: wait
    event: {type: door.closed}
    transitions: [{target: clear}]
  clear:
    type: task
    actions: [{clear_alarm: {alarm: door-open}}]
  closed: {type: succeed}
`;

const ORDER = ["id", "name", "version", "description", "placement", "engine", "devices", "triggers", "variables", "initial_state", "states", "error_handler", "metadata"];
const DEVICE: Field = { name: "device_id", kind: "text", isOptional: true, label: "device_id" };
const KINDS: Record<string, Field["kind"]> = { string: "text", number: "number", integer: "number", boolean: "choice" };

/** Return a workflow's document as text. */
export function written(document: Document): string {
  return writtenBy(ORDER, document);
}

/** Return the form of what a workflow is started with: its variables, and the device that it is about. */
export function fieldsOf({ variables }: Document): Field[] {
  const declared = Array.isArray(variables) ? variables.filter(isObject) : [];
  const fields = declared.map(fieldOf);
  return fields.some((field) => field.name === DEVICE.name) ? fields : [DEVICE, ...fields];
}

function fieldOf({ name, type, description, default: given }: Document): Field {
  const told = [description, given === undefined ? undefined : JSON.stringify(given)].filter((one) => one !== undefined);
  return {
    name: String(name),
    kind: KINDS[String(type)] ?? "json",
    choices: type === "boolean" ? ["true", "false"] : undefined,
    isOptional: true,
    label: String(name),
    hint: told.length > 0 ? told.join(" · ") : undefined,
  };
}
