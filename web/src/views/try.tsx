/** Typed text through the model and the SAE: each token's latents, each latent's tokens, and what is lost at each token. */
import { useEffect, useState } from "preact/hooks";
import type { Encoded, LiveInput } from "../../../src/dashboard/live.ts";
import type { Site, SiteIndex } from "../../../src/dashboard/site.ts";
import { counted } from "../../../src/report/numbers.ts";
import { visibleText } from "../../../src/report/visible-text.ts";
import { loadLatents } from "../data/latents.ts";
import { encode } from "../data/live.ts";
import { replace } from "../navigation.ts";
import { IndexChoice } from "../parts/index-choice.tsx";
import { Failure, Shown } from "../parts/notices.tsx";
import { useLoaded } from "../parts/use-loaded.ts";
import { href, type Route, withQuery } from "../routes.ts";
import { NotLive, whyNotLive } from "./live/absent.tsx";
import { EncodedText } from "./live/encoded-text.tsx";
import { isEmpty, readInput, writeInput } from "./live/input.ts";
import { InputEditor } from "./live/input-editor.tsx";

export interface LiveViewProps {
  readonly site: Site;
  readonly index: SiteIndex;
  readonly route: Route;
}

type Answer =
  | { readonly state: "none" | "waiting" }
  | { readonly state: "here"; readonly encoded: Encoded }
  | { readonly state: "failed"; readonly error: Error };

export function TryView({ site, index, route }: LiveViewProps) {
  useEffect(() => {
    document.title = "Try it · Lapidary";
  }, []);
  const why = whyNotLive(site, index);
  return (
    <>
      <div class="head">
        <h1>Try it</h1>
        <IndexChoice
          site={site}
          index={index}
          address={(id) => href("try", [id], Object.fromEntries(route.query))}
        />
      </div>
      {why === null ? <Trying site={site} index={index} route={route} /> : <NotLive why={why} />}
    </>
  );
}

function Trying({ site, index, route }: LiveViewProps) {
  const sent = readInput(route.query);
  const [input, setInput] = useState<LiveInput>(sent ?? { kind: "text", text: "" });
  const [answer, setAnswer] = useState<Answer>({ state: "none" });
  const latents = useLoaded(() => loadLatents(index), index.id);
  const key = JSON.stringify(sent);
  const [nSent, setNSent] = useState(0);
  // `key` is what was sent
  useEffect(() => {
    if (sent === null || isEmpty(sent)) return;
    setInput(sent);
    const abort = new AbortController();
    setAnswer({ state: "waiting" });
    encode({ index: index.id, input: sent }, abort.signal).then(
      (encoded) => setAnswer({ state: "here", encoded }),
      (error: Error) => !abort.signal.aborted && setAnswer({ state: "failed", error }),
    );
    return () => abort.abort();
  }, [key, index.id, nSent]);
  const send = () => {
    if (isEmpty(input)) return;
    replace(withQuery(route, { ...writeInput(input), token: null, latent: null }));
    setNSent(nSent + 1);
  };
  return (
    <>
      <form
        class="live-form"
        onSubmit={(event) => {
          event.preventDefault();
          send();
        }}
      >
        <InputEditor input={input} canChat={site.live?.chat === true} onChange={setInput} onSend={send} />
        <p class="actions">
          <button type="submit" class="main" disabled={isEmpty(input) || answer.state === "waiting"}>
            Encode
          </button>
          <span class="caption">
            through {visibleText(site.live?.model ?? "the model")}, at most {site.live?.contextSize} tokens;
            Ctrl + Enter
          </span>
        </p>
      </form>
      <p class="unseen" role="status">
        {answer.state === "waiting"
          ? "encoding"
          : answer.state === "here"
            ? counted(answer.encoded.tokens.length, "token")
            : ""}
      </p>
      {answer.state === "waiting" && <p class="waiting">Encoding …</p>}
      {answer.state === "failed" && <Failure error={answer.error} what="Encoding" />}
      {answer.state === "here" && (
        <Shown of={latents} what="the labels">
          {(value) => (
            <EncodedText site={site} index={index} latents={value} encoded={answer.encoded} route={route} />
          )}
        </Shown>
      )}
    </>
  );
}
