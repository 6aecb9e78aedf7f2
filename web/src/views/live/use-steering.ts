/** A steering under way: starts it, gathers both texts, stops it. */
import { useRef, useState } from "preact/hooks";
import type { SteerEvent, SteerRequest } from "../../../../src/dashboard/live.ts";
import { LiveRefusal, steer } from "../../data/live.ts";

export type Side = "plain" | "steered";

export interface SideState {
  readonly tokens: readonly string[];
  /** what was left at the end of a character that did not come */
  readonly rest: string;
  readonly why: "length" | "stop" | "context" | null;
}

export interface SteeringState {
  readonly phase: "none" | "running" | "done" | "stopped" | "failed";
  readonly plain: SideState;
  readonly steered: SideState;
  readonly seconds: number | null;
  readonly nForwards: number | null;
  readonly error: Error | null;
}

const EMPTY: SideState = { tokens: [], rest: "", why: null };
export const NOTHING: SteeringState = {
  phase: "none",
  plain: EMPTY,
  steered: EMPTY,
  seconds: null,
  nForwards: null,
  error: null,
};

export function useSteering(): {
  state: SteeringState;
  start: (request: SteerRequest) => Promise<void>;
  stop: () => void;
} {
  const [state, setState] = useState(NOTHING);
  const running = useRef<AbortController | null>(null);
  const stop = () => running.current?.abort();
  const start = async (request: SteerRequest) => {
    stop();
    const abort = new AbortController();
    running.current = abort;
    setState({ ...NOTHING, phase: "running" });
    try {
      for await (const event of steer(request, abort.signal)) setState((before) => after(before, event));
      setState((before) =>
        before.phase === "running"
          ? { ...before, phase: "failed", error: new Error("the answer ended before it was complete") }
          : before,
      );
    } catch (error) {
      setState((before) =>
        abort.signal.aborted
          ? { ...before, phase: "stopped" }
          : { ...before, phase: "failed", error: error as Error },
      );
    }
  };
  return { state, start, stop };
}

/** The state once an event has come. */
export function after(state: SteeringState, event: SteerEvent): SteeringState {
  switch (event.kind) {
    case "token": {
      const side = state[event.side];
      return { ...state, [event.side]: { ...side, tokens: [...side.tokens, event.text] } };
    }
    case "end":
      return {
        ...state,
        [event.side]: { ...state[event.side], rest: event.text, why: event.why },
      };
    case "done":
      return { ...state, phase: "done", seconds: event.seconds, nForwards: event.nForwards };
    case "error":
      return { ...state, phase: "failed", error: new LiveRefusal(event.error) };
  }
}
