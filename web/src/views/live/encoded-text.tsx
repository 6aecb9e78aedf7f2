/** An encoded text: its tokens shaded by a latent, by error or by how many latents fire; the latents of a token, and of all. */
import { useMemo } from "preact/hooks";
import type { Encoded, EncodedToken } from "../../../../src/dashboard/live.ts";
import type { Site, SiteIndex } from "../../../../src/dashboard/site.ts";
import { count, counted, percent, short } from "../../../../src/report/numbers.ts";
import type { Latents } from "../../data/latents.ts";
import { replace } from "../../navigation.ts";
import { TokenStrip } from "../../parts/token-strip.tsx";
import { quotedToken } from "../../parts/token-text.ts";
import { type Route, withQuery } from "../../routes.ts";
import { LatentTable } from "./latent-table.tsx";

export interface EncodedTextProps {
  readonly site: Site;
  readonly index: SiteIndex;
  readonly latents: Latents;
  readonly encoded: Encoded;
  readonly route: Route;
}

const SHADES = { latent: "a latent", error: "reconstruction error", number: "number of latents" } as const;
type Shade = keyof typeof SHADES;
/** Rows of the tables at once. */
const SHOWN = 40;

export function EncodedText({ site, index, latents, encoded, route }: EncodedTextProps) {
  const { tokens, truncated } = encoded;
  const summed = useMemo(() => overall(tokens), [tokens]);
  const change = (patch: Record<string, string | null>) => replace(withQuery(route, patch));
  const picked = numberOf(route.query.get("token"), tokens.length);
  const latent = numberOf(route.query.get("latent"), latents.nLatents) ?? summed[0]?.latent ?? null;
  const shade =
    (Object.keys(SHADES) as Shade[]).find((name) => name === route.query.get("shade")) ?? "latent";
  const { values, what, most } = shaded(tokens, shade, latent);
  const pickLatent = (chosen: number) => change({ latent: String(chosen), shade: null });
  const token = picked === null ? undefined : tokens[picked];
  return (
    <section class="encoded" aria-label="Encoded text">
      <h2>Tokens</h2>
      <div class="shades">
        <div class="segments" role="group" aria-label="Shaded by">
          {(Object.keys(SHADES) as Shade[]).map((name) => (
            <button
              key={name}
              type="button"
              aria-pressed={name === shade}
              onClick={() => change({ shade: name })}
            >
              {name === "latent" && latent !== null ? `latent ${latent}` : SHADES[name]}
            </button>
          ))}
        </div>
        <p class="caption">
          {counted(tokens.length, "token")}
          {truncated && "; what came after the context size was left out"}. {errorText(tokens)} Pick a token
          to see its latents.
        </p>
      </div>
      <TokenStrip
        label="Tokens of the text"
        tokens={tokens.map(({ text }) => text)}
        values={values}
        notes={tokens.map(({ role, kept }) => (kept ? role : `${role}, not encoded`))}
        most={most}
        what={what}
        tone={shade === "error" ? "error" : "act"}
        picked={picked}
        onPick={(i) => change({ token: i === picked ? null : String(i) })}
        keepLines
      />
      <div class="pair">
        {token !== undefined && (
          <div>
            <h2>
              Latents of <bdi>{quotedToken(token.text)}</bdi>
            </h2>
            {token.kept ? (
              <>
                <p class="caption">
                  {counted(token.latents.length, "latent")}, reconstruction error{" "}
                  {percent(relativeError(token))} of ‖x‖²
                </p>
                <LatentTable
                  index={index}
                  latents={latents}
                  chosen={latent}
                  onChoose={pickLatent}
                  canSteer={site.live !== null}
                  rows={token.latents.slice(0, SHOWN).map((id, i) => ({ latent: id, value: token.acts[i] }))}
                  head="Activation"
                />
              </>
            ) : (
              <p class="absent">The SAE is not run here: {token.role}.</p>
            )}
          </div>
        )}
        <div>
          <h2>Strongest latents of the text</h2>
          <p class="caption">{count(summed.length)} fire; by largest activation</p>
          <LatentTable
            index={index}
            latents={latents}
            chosen={latent}
            onChoose={pickLatent}
            canSteer={site.live !== null}
            rows={summed
              .slice(0, SHOWN)
              .map(({ latent: id, most: value, nTokens }) => ({ latent: id, value, nTokens }))}
            head="Largest"
          />
        </div>
      </div>
    </section>
  );
}

/** All latents that fire, with their largest activation and how many tokens they fire on; the strongest first. */
export function overall(
  tokens: readonly EncodedToken[],
): { latent: number; most: number; nTokens: number }[] {
  const found = new Map<number, { latent: number; most: number; nTokens: number }>();
  for (const token of tokens)
    token.latents.forEach((latent, i) => {
      const entry = found.get(latent) ?? { latent, most: 0, nTokens: 0 };
      entry.most = Math.max(entry.most, token.acts[i]);
      entry.nTokens++;
      found.set(latent, entry);
    });
  return [...found.values()].sort((a, b) => b.most - a.most || a.latent - b.latent);
}

function shaded(tokens: readonly EncodedToken[], shade: Shade, latent: number | null) {
  const values = tokens.map((token): number | null => {
    if (!token.kept) return null;
    if (shade === "error") return relativeError(token);
    if (shade === "number") return token.latents.length;
    const at = latent === null ? -1 : token.latents.indexOf(latent);
    return at < 0 ? null : token.acts[at];
  });
  const what = { latent: `latent ${latent}`, error: "‖x − x̂‖² / ‖x‖²", number: "latents" }[shade];
  const largest = Math.max(0, ...values.map((value) => value ?? 0));
  return { values, what, most: shade === "error" ? Math.max(1, largest) : largest };
}

/** ‖x − x̂‖² / ‖x‖²; null where the SAE was not run. */
function relativeError({ squaredError, squaredNorm }: EncodedToken): number | null {
  return squaredError === null || squaredNorm === null || squaredNorm === 0
    ? null
    : squaredError / squaredNorm;
}

function errorText(tokens: readonly EncodedToken[]): string {
  const sum = (key: "squaredError" | "squaredNorm") =>
    tokens.reduce((total, token) => total + (token[key] ?? 0), 0);
  const norm = sum("squaredNorm");
  return norm > 0
    ? `Lost: ${percent(sum("squaredError") / norm)} of ‖x‖²; ${short(tokens.reduce((n, { latents }) => n + latents.length, 0) / Math.max(1, tokens.filter(({ kept }) => kept).length), 3)} latents a token.`
    : "";
}

function numberOf(text: string | null, below: number): number | null {
  return text !== null && /^\d+$/.test(text) && Number(text) < below ? Number(text) : null;
}
