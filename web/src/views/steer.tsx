/** Generated text with latents moved, beside the same without. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { LiveInput, SteerRequest } from "../../../src/dashboard/live.ts";
import { visibleText } from "../../../src/report/visible-text.ts";
import type { Latents } from "../data/latents.ts";
import { loadLatents } from "../data/latents.ts";
import { replace } from "../navigation.ts";
import { IndexChoice } from "../parts/index-choice.tsx";
import { Failure, Shown } from "../parts/notices.tsx";
import { useLoaded } from "../parts/use-loaded.ts";
import { href, withQuery } from "../routes.ts";
import { NotLive, whyNotLive } from "./live/absent.tsx";
import { isEmpty, readInput, writeInput } from "./live/input.ts";
import { InputEditor } from "./live/input-editor.tsx";
import { completed, type Draft, numberOrNull, readDrafts, writeDrafts } from "./live/interventions.ts";
import { InterventionsEditor } from "./live/interventions-editor.tsx";
import { readSampling, type Sampling, SamplingEditor, writeSampling } from "./live/sampling.tsx";
import { SteeredTexts } from "./live/steered-texts.tsx";
import { useSteering } from "./live/use-steering.ts";
import type { LiveViewProps } from "./try.tsx";

export function SteerView(props: LiveViewProps) {
  const { site, index, route } = props;
  useEffect(() => {
    document.title = "Steer · Lapidary";
  }, []);
  const latents = useLoaded(() => loadLatents(index), index.id);
  const why = whyNotLive(site, index);
  return (
    <>
      <div class="head">
        <h1>Steer</h1>
        <IndexChoice
          site={site}
          index={index}
          address={(id) => href("steer", [id], Object.fromEntries(route.query))}
        />
      </div>
      {why !== null ? (
        <NotLive why={why} />
      ) : (
        <Shown of={latents} what="the latents">
          {(value) => <Steering {...props} latents={value} />}
        </Shown>
      )}
    </>
  );
}

const FIRST: Draft = { kind: "add", latent: null, value: null };

function Steering({ site, index, route, latents }: LiveViewProps & { latents: Latents }) {
  const [input, setInput] = useState<LiveInput>(readInput(route.query) ?? { kind: "text", text: "" });
  const [drafts, setDrafts] = useState<readonly Draft[]>(() =>
    withValues(readDrafts(route.query.get("do")), latents),
  );
  const [sampling, setSampling] = useState<Sampling>(() => readSampling(route.query));
  const steering = useSteering();
  const interventions = completed(drafts, latents.nLatents);
  const isReady = interventions !== null && interventions.length > 0 && !isEmpty(input);
  const isRunning = steering.state.phase === "running";
  const stop = useRef(steering.stop);
  stop.current = steering.stop;
  useEffect(() => () => stop.current(), []);

  const start = () => {
    if (!isReady || isRunning) return;
    replace(withQuery(route, { ...writeInput(input), do: writeDrafts(drafts), ...writeSampling(sampling) }));
    const { positions, nTokens, temperature, topK, seed } = sampling;
    const request: SteerRequest = {
      index: index.id,
      input,
      interventions,
      positions,
      nTokens,
      sampling: { temperature, topK, seed },
    };
    void steering.start(request);
  };
  return (
    <>
      <form
        class="live-form steer-form"
        onSubmit={(event) => {
          event.preventDefault();
          start();
        }}
      >
        <div class="pair">
          <InputEditor input={input} canChat={site.live?.chat === true} onChange={setInput} onSend={start} />
          <div>
            <InterventionsEditor
              latents={latents}
              drafts={drafts.length === 0 ? [FIRST] : drafts}
              onChange={setDrafts}
            />
            <SamplingEditor sampling={sampling} onChange={setSampling} />
          </div>
        </div>
        <p class="actions">
          <button type="submit" class="main" disabled={!isReady || isRunning}>
            Generate
          </button>
          <button type="button" disabled={!isRunning} onClick={steering.stop}>
            Stop
          </button>
          <span class="caption">{visibleText(site.live?.note ?? "")}</span>
        </p>
      </form>
      {steering.state.error !== null && <Failure error={steering.state.error} what="Steering" />}
      <SteeredTexts state={steering.state} />
    </>
  );
}

/** A latent that was named without a value is moved by its largest activation, which shows what it does. */
function withValues(drafts: readonly Draft[], latents: Latents): readonly Draft[] {
  return drafts.map((draft) => {
    const most = draft.latent === null ? undefined : latents.numbers.max_act[draft.latent];
    if (draft.value !== null || draft.kind === "ablate" || draft.kind === "scale") return draft;
    return { ...draft, value: most === undefined ? null : numberOrNull(most.toPrecision(3)) };
  });
}
