import { type Diagnostic, lintGutter, setDiagnostics } from "@codemirror/lint";
import { Annotation } from "@codemirror/state";
import { EditorView } from "@codemirror/view";
import { useCallback, useEffect, useRef, useState } from "react";
import styles from "./CodeEditor.module.css";
import { editing, shadowOf } from "./editing";

type CodeEditorProps = {
  text: string;
  label: string;
  isReadOnly: boolean;
  /** What is wrong, each at its place. */
  marks: Diagnostic[];
  onChange: (text: string) => void;
};

const fromOutside = Annotation.define<boolean>();

/** A text in YAML that is edited, its faults underlined. */
export function CodeEditor({ text, label, isReadOnly, marks, onChange }: CodeEditorProps) {
  const [view, setView] = useState<EditorView>();
  const tell = useRef(onChange);
  /** What was told and has not come back as `text`, which may be behind what is typed. */
  const echoes = useRef<string[]>([]);
  useEffect(() => {
    tell.current = onChange;
  });

  const place = useCallback(
    (element: HTMLDivElement) => {
      const root = shadowOf(element);
      const told = EditorView.updateListener.of((update) => {
        if (!update.docChanged || update.transactions.some((one) => one.annotation(fromOutside))) return;
        const typed = update.state.doc.toString();
        echoes.current.push(typed);
        tell.current(typed);
      });
      const made = new EditorView({ parent: root, root, extensions: [...editing(label, isReadOnly), lintGutter(), told] });
      setView(made);
      return () => made.destroy();
    },
    [label, isReadOnly],
  );

  useEffect(() => {
    if (!view) return;
    const echo = echoes.current.indexOf(text);
    echoes.current = echoes.current.slice(echo + 1);
    const had = view.state.doc.toString();
    if (echo < 0 && had !== text) view.dispatch({ changes: { from: 0, to: had.length, insert: text }, annotations: fromOutside.of(true) });
  }, [view, text]);

  useEffect(() => {
    if (!view) return;
    const end = view.state.doc.length;
    const shown = marks.map((mark) => ({ ...mark, from: Math.min(mark.from, end), to: Math.min(mark.to, end) }));
    view.dispatch(setDiagnostics(view.state, shown));
  }, [view, marks]);

  return <div ref={place} className={styles.editor} />;
}
