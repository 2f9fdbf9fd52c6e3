import { isNode, parseDocument, stringify } from "yaml";
import { isObject } from "../json";

/** What somebody writes and deploys: a rule, a workflow. */
export type Document = Record<string, unknown>;

/** Where a text is wrong, and why. */
export type Mark = { from: number; to: number; message: string };

/** Return a document as text, its parts in one order, so that two versions can be compared. */
export function writtenBy(order: string[], document: Document): string {
  const parts = Object.entries(document).toSorted(([one], [other]) => order.indexOf(one) - order.indexOf(other));
  return stringify(Object.fromEntries(parts), { lineWidth: 100 });
}

/** Return the document that a text is; without one the marks tell where it is no YAML, and if there are none it is no mapping. */
export function read(text: string): { document?: Document; marks: Mark[] } {
  const parsed = parseDocument(text, { prettyErrors: false });
  const marks = parsed.errors.map(({ pos: [from, to], message }) => ({ from, to, message }));
  const document: unknown = marks.length > 0 ? undefined : parsed.toJS();
  return { document: isObject(document) ? document : undefined, marks };
}

/** Return where in a text a fault stands whose path is the API's, as `document.when.and[1].event_type`. */
export function markOf(text: string, path: string, message: string): Mark {
  const parsed = parseDocument(text);
  const steps = [...path.matchAll(/[^.[\]]+/g)].map(([step]) => (/^\d+$/.test(step) ? Number(step) : step)).slice(1);
  for (let length = steps.length; length > 0; length -= 1) {
    const node = parsed.getIn(steps.slice(0, length), true);
    if (isNode(node) && node.range) return { ...firstLine(text, node.range[0], node.range[1]), message };
  }
  return { ...firstLine(text, 0, text.length), message };
}

/** Return a text with another version in it. */
export function withVersion(text: string, version: string): string {
  const parsed = parseDocument(text);
  parsed.set("version", version);
  return parsed.toString({ lineWidth: 0 });
}

/** Return the version after the highest of some. */
export function nextVersion(versions: string[]): string {
  const numbers = versions.map((one) => one.split(".").map(Number));
  const [major = 1, minor = 0, patch = 0] = numbers.toSorted(byNumbers).at(-1) ?? [];
  return [major, minor, patch + 1].join(".");
}

function byNumbers(one: number[], other: number[]): number {
  const at = one.findIndex((number, place) => number !== other[place]);
  return at < 0 ? 0 : (one[at] ?? 0) - (other[at] ?? 0);
}

/** A fault of a long part is shown where the part begins. */
function firstLine(text: string, from: number, to: number): { from: number; to: number } {
  const end = text.indexOf("\n", from);
  return { from, to: end < 0 ? to : Math.min(to, end) };
}
