import dagre from "@dagrejs/dagre";
import type { Graph, GraphEdge, GraphNode } from "../../api/types.gen";

export const STATE = { width: 190, height: 50 };
export const LABEL = { width: 132, height: 30 };
export const DOT = 12;
export const ANY_FAILURE = { width: 150, height: 26 };
const START = " start"; // no state can be called so
const FAILURE = " failure";
const AROUND = 14;
const BETWEEN = 14;

type Point = { x: number; y: number };

/** What stands in a picture; `x` and `y` are those of its left upper corner. */
type Box = Point & { width: number; height: number };
export type StateBox = Box & { node: GraphNode };
/** What is around other states: a state, or one of its branches. */
export type Frame = Box & { id: string; isBranch: boolean };
export type Way = { id: string; edge?: GraphEdge; points: Point[]; label?: Point };

/** A graph with a place for everything in it. */
export type Picture = { width: number; height: number; states: StateBox[]; frames: Frame[]; dots: Box[]; anyFailure?: Box; ways: Way[] };

/** Give each state of a graph its place; branches and iterators stand within their state. */
export function pictureOf(graph: Graph): Picture {
  return placed(graph, null, null);
}

function placed(graph: Graph, parent: string | null, branch: number | null): Picture {
  const nodes = graph.nodes.filter((node) => node.parent === parent && node.branch === branch);
  const inner = new Map(nodes.map((node) => [node.id, branchesOf(graph, node)]));
  const ids = new Set(nodes.map((node) => node.id));
  const edges = graph.edges.filter((edge) => ids.has(edge.target));
  const flow = new dagre.graphlib.Graph({ multigraph: true });
  flow.setGraph({ rankdir: "TB", nodesep: 26, edgesep: 14, ranksep: 30, marginx: AROUND, marginy: AROUND });
  for (const node of nodes) flow.setNode(node.id, sizeOf(inner.get(node.id) ?? []));
  const first = nodes.find((node) => node.is_initial);
  if (first) {
    flow.setNode(START, { width: DOT, height: DOT });
    flow.setEdge(START, first.id, {}, START);
  }
  if (edges.some((edge) => edge.source === null)) flow.setNode(FAILURE, { ...ANY_FAILURE });
  for (const edge of edges) {
    const label = edge.condition === null && edge.kind !== "error" ? {} : { ...LABEL, labelpos: "c" };
    flow.setEdge(edge.source ?? FAILURE, edge.target, label, edge.place);
  }
  dagre.layout(flow);

  const at = (name: string): Box => {
    const { x, y, width, height } = flow.node(name);
    return { x: x - width / 2, y: y - height / 2, width, height };
  };
  const own: Picture = {
    width: flow.graph().width ?? 0,
    height: flow.graph().height ?? 0,
    states: nodes.map((node) => Object.assign(at(node.id), { node })),
    frames: [],
    dots: first ? [at(START)] : [],
    anyFailure: flow.hasNode(FAILURE) ? at(FAILURE) : undefined,
    ways: flow.edges().map(({ v, w, name = "" }) => {
      const { points, x, y } = flow.edge({ v, w, name });
      const edge = edges.find((one) => one.place === name);
      return { id: `${parent ?? ""} ${branch ?? ""} ${name}`, edge, points: points ?? [], label: x === undefined || y === undefined ? undefined : { x, y } };
    }),
  };
  return own.states.reduce((all, box) => withBranches(all, box, inner.get(box.node.id) ?? []), own);
}

function branchesOf(graph: Graph, node: GraphNode): Picture[] {
  const numbers = new Set(graph.nodes.filter((one) => one.parent === node.id).map((one) => one.branch));
  return [...numbers].map((number) => placed(graph, node.id, number));
}

function sizeOf(branches: Picture[]) {
  if (branches.length === 0) return { ...STATE };
  const width = branches.reduce((sum, one) => sum + one.width + BETWEEN, BETWEEN);
  return { width: Math.max(STATE.width, width), height: STATE.height + Math.max(...branches.map((one) => one.height)) + BETWEEN };
}

/** Put the pictures of a state's branches side by side into it. */
function withBranches(all: Picture, box: StateBox, branches: Picture[]): Picture {
  if (branches.length === 0) return all;
  const { node, ...around } = box;
  const height = Math.max(...branches.map((one) => one.height));
  all.frames.push({ ...around, id: node.id, isBranch: false });
  let x = box.x + BETWEEN;
  for (const [number, one] of branches.entries()) {
    const by = { x, y: box.y + STATE.height };
    const moved = <Thing extends Point>(thing: Thing): Thing => ({ ...thing, x: thing.x + by.x, y: thing.y + by.y });
    all.frames.push({ ...by, width: one.width, height, id: `${node.id} ${number}`, isBranch: true }, ...one.frames.map(moved));
    all.states.push(...one.states.map(moved));
    all.dots.push(...one.dots.map(moved));
    all.ways.push(...one.ways.map((way) => ({ ...way, points: way.points.map(moved), label: way.label && moved(way.label) })));
    x += one.width + BETWEEN;
  }
  return all;
}
