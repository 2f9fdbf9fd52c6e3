import { MergeView } from "@codemirror/merge";
import { useCallback } from "react";
import { editing, shadowOf } from "./editing";

type Side = { text: string; label: string };

/** Two texts in YAML side by side, what differs marked; long stretches of the same are folded. */
export function CodeDiff({ left, right }: { left: Side; right: Side }) {
  const place = useCallback(
    (element: HTMLDivElement) => {
      const root = shadowOf(element);
      const made = new MergeView({
        a: { doc: left.text, extensions: editing(left.label, true) },
        b: { doc: right.text, extensions: editing(right.label, true) },
        parent: root,
        root,
        collapseUnchanged: { margin: 3, minSize: 6 },
      });
      return () => made.destroy();
    },
    [left.text, left.label, right.text, right.label],
  );
  return <div ref={place} />;
}
