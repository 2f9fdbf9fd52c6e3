import type { GraphOut, InstanceOut, InstanceRecord } from "../../api/types.gen";
import type { Shown } from "../workflows/Picture";

const ANY_ITEM = "*";

/** Return where an instance is in its workflow's graph, and how it has left the states that it was in. */
export function shownOf(graph: GraphOut, { states }: InstanceOut, history: InstanceRecord[]): Shown {
  const maps = new Set(graph.nodes.filter((node) => node.type === "map").map((node) => node.id));
  const counts: Record<string, number> = {};
  for (const state of states) {
    const node = nodeOf(maps, state);
    counts[node] = (counts[node] ?? 0) + 1;
  }
  const left: Record<string, "succeeded" | "failed"> = {};
  for (const { kind, state, outcome } of history) {
    if (kind === "state" && state !== null) left[nodeOf(maps, state)] = outcome === "succeeded" ? "succeeded" : "failed";
  }
  return { counts, left };
}

/** Return the node of a state as it is told, as `flush[3].open`: in an iterator it is one for all items. */
function nodeOf(maps: Set<string>, state: string): string {
  const steps = state.split(/[.[\]]+/);
  return steps.reduce((node, step) => (node === "" ? step : `${node}/${maps.has(node) ? ANY_ITEM : step}`), "");
}
