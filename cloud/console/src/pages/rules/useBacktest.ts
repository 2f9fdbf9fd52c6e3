import { useCallback, useEffect, useRef, useState } from "react";
import { backtestRule } from "../../api/sdk.gen";
import type { Backtest } from "../../api/types.gen";

const TELL_EVERY_MS = 100;

/** A time for which a rule would have fired, as a line of the answer tells it. */
export type Fired = {
  of: "rule" | "against";
  version: string;
  device: string;
  at: string;
  holds: boolean;
  values: Record<string, unknown>;
  effects: { kind: string }[];
};

export type Summary = { events: number; fired: Record<string, number>; only: Record<string, number>; complete: boolean; error: string | null };

type Line = ({ kind: "firing" } & Fired) | { kind: "progress"; share: number; events: number } | ({ kind: "summary" } & Summary);

export type Outcome = { isRunning: boolean; share: number; events: number; firings: Fired[]; summary?: Summary; error?: unknown };

/** Runs one backtest at a time and tells what it has found so far; it ends with the page. */
export function useBacktest() {
  const [outcome, setOutcome] = useState<Outcome>();
  const running = useRef<AbortController>(undefined);
  const stop = useCallback(() => running.current?.abort(), []);
  useEffect(() => stop, [stop]);

  const run = async (asked: Backtest) => {
    stop();
    const ending = new AbortController();
    running.current = ending;
    let found: Outcome = { isRunning: true, share: 0, events: 0, firings: [] };
    let told = 0;
    setOutcome(asOf(found));
    try {
      const { data } = await backtestRule({ body: asked, parseAs: "stream", signal: ending.signal, throwOnError: true });
      for await (const line of lines(data as unknown as ReadableStream<Uint8Array>)) {
        found = after(found, line);
        if (Date.now() - told >= TELL_EVERY_MS) {
          told = Date.now();
          setOutcome(asOf(found));
        }
      }
      setOutcome({ ...asOf(found), isRunning: false });
    } catch (error) {
      if (running.current === ending) setOutcome({ ...asOf(found), isRunning: false, error: ending.signal.aborted ? undefined : error });
    }
  };
  return { outcome, run, stop };
}

/** Give a copy: firings are added to the list that is there, and what is worked out of a list is kept for as long as it is the same. */
function asOf(found: Outcome): Outcome {
  return { ...found, firings: [...found.firings] };
}

function after(found: Outcome, line: Line): Outcome {
  if (line.kind === "firing") found.firings.push(line);
  if (line.kind === "progress") return { ...found, share: line.share, events: line.events };
  if (line.kind === "summary") return { ...found, share: 1, events: line.events, summary: line };
  return found;
}

/** Give the objects of a stream that has one a line. */
async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<Line> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    const parts = (rest + decoder.decode(piece.value, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) yield JSON.parse(part) as Line;
  }
}
