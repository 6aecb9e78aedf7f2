/** Latents with a value each; one may be chosen, to shade the text by it. */
import type { SiteIndex } from "../../../../src/dashboard/site.ts";
import { count, short } from "../../../../src/report/numbers.ts";
import type { Latents } from "../../data/latents.ts";
import { href } from "../../routes.ts";
import { LatentName } from "../latents/columns.tsx";

export interface LatentTableProps {
  readonly index: SiteIndex;
  readonly latents: Latents;
  readonly rows: readonly { readonly latent: number; readonly value: number; readonly nTokens?: number }[];
  readonly head: string;
  readonly chosen: number | null;
  readonly canSteer: boolean;
  readonly onChoose: (latent: number) => void;
}

export function LatentTable({ index, latents, rows, head, chosen, canSteer, onChoose }: LatentTableProps) {
  if (rows.length === 0) return <p class="absent">None fires.</p>;
  const hasTokens = rows.some(({ nTokens }) => nTokens !== undefined);
  return (
    <div class="scroll">
      <table class="fired">
        <thead>
          <tr>
            <th scope="col" class="text">
              Latent
            </th>
            <th scope="col">{head}</th>
            {hasTokens && (
              <th scope="col" class="minor">
                Tokens
              </th>
            )}
            <th scope="col">
              <span class="unseen">Do</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ latent, value, nTokens }) => (
            <tr key={latent} class={latent === chosen ? "active" : undefined}>
              <th scope="row" class="text">
                <a href={href("latent", [index.id, latent])}>{latent}</a>{" "}
                <LatentName latents={latents} latent={latent} />
              </th>
              <td>{short(value, 3)}</td>
              {hasTokens && <td class="minor">{count(nTokens)}</td>}
              <td class="doing">
                <button
                  type="button"
                  class="quiet"
                  aria-pressed={latent === chosen}
                  aria-label={`Shade the text by latent ${latent}`}
                  onClick={() => onChoose(latent)}
                >
                  Shade
                </button>
                {canSteer && (
                  <a
                    class="quiet"
                    href={href("steer", [index.id], { do: `add:${latent}` })}
                    aria-label={`Steer with latent ${latent}`}
                  >
                    Steer
                  </a>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
