import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { stream } from "../api/sdk.gen";
import type { StreamEvent } from "../api/types.gen";
import { Applier } from "./apply";

export type LiveState = "connecting" | "live" | "reconnecting";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5_000;

/**
 * Follow what the cloud tells of one device, or of all, for as long as the component is shown.
 *
 * What arrives is put into the queries' cache, so a page needs no more than its queries. After every (re)connection the
 * first event is `ready`, and everything that is shown is read again: nothing that happened in between is missed.
 */
export function useStream(device: string | undefined, isOn: boolean): LiveState {
  const client = useQueryClient();
  const [state, setState] = useState<LiveState>("connecting");

  useEffect(() => {
    if (!isOn) return;
    const ending = new AbortController();
    const applier = new Applier(client);
    const follow = async () => {
      let pause = FIRST_PAUSE_MS;
      while (!ending.signal.aborted) {
        const { stream: events } = await stream({
          query: { device, every_alarm: true }, // the header counts them on the page of one device too
          signal: ending.signal,
          sseMaxRetryAttempts: 1, // the pauses are ours, since the mark in the header tells of them
        });
        for await (const told of events) {
          const event = told as unknown as StreamEvent; // the generator does not know the type of a stream's items
          if (event.kind === "ready") {
            setState("live");
            pause = FIRST_PAUSE_MS;
          }
          applier.apply(event);
        }
        if (ending.signal.aborted) return;
        setState("reconnecting");
        applier.checkSession();
        await rest(pause, ending.signal);
        pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
      }
    };
    void follow();
    return () => {
      ending.abort();
      applier.stop();
    };
  }, [client, device, isOn]);

  return state;
}

function rest(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
