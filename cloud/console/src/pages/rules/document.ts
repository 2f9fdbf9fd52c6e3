import { type Document, writtenBy } from "../../components/documents";

export const FIRST_RULE = `id: overheat
description: A device is too hot
fire: on_change            # once when it begins to hold, by device
when:
  and:
    - event_type: device.telemetry
    - property_range: {property: temperature, min: 80}
do:
  - raise_alarm: {alarm: overheat, severity: major, message: "{{ data.temperature }} °C"}
otherwise:                 # when it held and holds no more
  - clear_alarm: {alarm: overheat}
cases:                     # run whenever the rule is deployed
  - name: warns at 80, once
    events:
      - {at: 0, data: {temperature: 79}}
      - {at: 10s, data: {temperature: 81}}
      - {at: 20s, data: {temperature: 82}}
    fires:
      - {at: 10s, effects: [{raise_alarm: {severity: major}}]}
`;

const ORDER = ["id", "version", "description", "placement", "engine", "devices", "fire", "cooldown", "lateness", "late", "shadow", "when", "do", "otherwise", "cases"];

/** Return a rule's document as text. */
export function written(document: Document): string {
  return writtenBy(ORDER, document);
}

/** The metric that a rule looks at first, and which end of a stretch of time tells most of it. */
export type Looked = { metric: string; aggregate: "max" | "min" };

export function metricOf(condition: unknown): Looked | undefined {
  if (typeof condition !== "object" || condition === null) return undefined;
  if ("property" in condition && typeof condition.property === "string") {
    const isLow = "max" in condition && !("min" in condition);
    return { metric: condition.property, aggregate: isLow ? "min" : "max" };
  }
  return Object.values(condition).map(metricOf).find((found) => found !== undefined);
}
