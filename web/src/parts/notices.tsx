/** What is said while something is not there: waiting, failed, absent. */
import type { ComponentChildren } from "preact";
import { visibleText } from "../../../src/report/visible-text.ts";
import { LiveRefusal } from "../data/live.ts";
import type { Loaded } from "./use-loaded.ts";

export function Waiting({ what }: { what: string }) {
  return (
    <p class="waiting" role="status">
      Reading {what} …
    </p>
  );
}

export function Failure({ error, what }: { error: Error; what: string }) {
  const hint = error instanceof LiveRefusal ? error.hint : undefined;
  return (
    <div class="failure" role="alert">
      <p>
        <strong>{what} could not be done.</strong> {visibleText(error.message)}
      </p>
      {hint !== undefined && <p>{visibleText(hint)}</p>}
    </div>
  );
}

/** Shows `children` of what was loaded, or why not yet. */
export function Shown<T>(props: {
  readonly of: Loaded<T>;
  readonly what: string;
  readonly children: (value: T) => ComponentChildren;
}) {
  if (props.of.state === "waiting") return <Waiting what={props.what} />;
  if (props.of.state === "failed") return <Failure error={props.of.error} what={`Reading ${props.what}`} />;
  return <>{props.children(props.of.value)}</>;
}
