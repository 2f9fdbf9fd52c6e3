import { type CSSProperties, useId, useMemo } from "react";
import { useTranslation } from "react-i18next";
import type { Graph, GraphNode } from "../../api/types.gen";
import { LABEL, pictureOf, type Way } from "./layout";
import styles from "./Picture.module.css";

/** What is told of states beside the graph, by their nodes. */
export type Shown = {
  /** How many instances are in it; of one instance how often it is in it, as an iterator is. */
  counts: Record<string, number>;
  /** Those that an instance has left, and how. */
  left?: Record<string, "succeeded" | "failed">;
};

type PictureProps = { graph: Graph; shown: Shown; label: string };

/** A workflow's states and the ways between them. What is wider than its place is scrolled, by keys too. */
export function Picture({ graph, shown, label }: PictureProps) {
  const { t } = useTranslation();
  const arrow = useId();
  const { width, height, states, frames, dots, anyFailure, ways } = useMemo(() => pictureOf(graph), [graph]);
  return (
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- who has no mouse has to be able to scroll it
    <section className={styles.place} aria-label={label} tabIndex={0}>
      <div className={styles.picture} style={{ width, height }}>
        {frames.map(({ id, isBranch, ...box }) => (
          <div key={id} className={isBranch ? styles.branch : styles.around} style={at(box)} />
        ))}
        <svg className={styles.ways} width={width} height={height} aria-hidden="true">
          {(["transition", "error"] as const).map((kind) => (
            <marker key={kind} id={`${arrow}${kind}`} viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">
              <path d="M 0 0.5 L 8 4 L 0 7.5 z" data-kind={kind} className={styles.tip} />
            </marker>
          ))}
          {ways.map((way) => {
            const kind = way.edge === undefined || way.edge.kind === "transition" ? "transition" : "error";
            return <path key={way.id} className={styles.way} data-kind={kind} d={lineOf(way)} markerEnd={`url(#${arrow}${kind})`} />;
          })}
          {dots.map((dot) => (
            <circle key={`${dot.x} ${dot.y}`} className={styles.dot} cx={dot.x + dot.width / 2} cy={dot.y + dot.height / 2} r={dot.width / 2} />
          ))}
        </svg>
        {anyFailure && (
          <div className={styles.failure} style={at(anyFailure)}>
            {t("workflow.anyFailure")}
          </div>
        )}
        {states.map(({ node, ...box }) => (
          <State key={node.id} node={node} shown={shown} style={at(box)} />
        ))}
        {ways.map(
          ({ id, edge, label: place }) =>
            edge &&
            place && (
              <div key={id} className={styles.label} data-kind={edge.kind} style={{ left: place.x - LABEL.width / 2, top: place.y - LABEL.height / 2, ...LABEL }}>
                <span title={edge.condition ?? undefined}>{edge.condition ?? t("workflow.onError")}</span>
              </div>
            ),
        )}
      </div>
    </section>
  );
}

type StateProps = { node: GraphNode; shown: Shown; style: CSSProperties };

function State({ node, shown, style }: StateProps) {
  const { t } = useTranslation();
  const count = shown.counts[node.id] ?? 0;
  const left = shown.left?.[node.id];
  return (
    <div className={styles.state} style={style} data-node={node.id} data-type={node.type} data-here={count > 0 || undefined} data-left={left}>
      <div className={styles.head}>
        <span className={styles.sign} data-type={node.type} aria-hidden="true">
          {SIGNS[node.type] ?? "•"}
        </span>
        <b className={styles.name} title={node.name}>
          {node.name}
        </b>
        {count > 0 && (
          <span className={styles.count} title={t("workflow.here")}>
            {count}
            <span className="visually-hidden"> {t("workflow.here")}</span>
          </span>
        )}
      </div>
      <div className={styles.does} title={node.label || node.type}>
        {node.label || node.type}
      </div>
    </div>
  );
}

const SIGNS: Record<string, string> = { task: "▸", choice: "◇", wait: "◷", parallel: "‖", map: "↻", succeed: "✓", fail: "✗" };

function at({ x, y, width, height }: { x: number; y: number; width: number; height: number }): CSSProperties {
  return { left: x, top: y, width, height };
}

/** A way's line, round where it bends. */
function lineOf({ points }: Way): string {
  const [first, ...rest] = points;
  if (!first) return "";
  const curves = rest.slice(0, -1).map((point, number) => {
    const next = rest[number + 1] ?? point;
    return `Q ${point.x} ${point.y} ${(point.x + next.x) / 2} ${(point.y + next.y) / 2}`;
  });
  const last = rest.at(-1) ?? first;
  return [`M ${first.x} ${first.y}`, ...curves, `L ${last.x} ${last.y}`].join(" ");
}
