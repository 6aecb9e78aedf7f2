/** What is done to latents, and how it stands in an address: "add:123:5;ablate:4". */
import type { Intervention } from "../../../../src/dashboard/live.ts";

export const KINDS = ["add", "scale", "clamp", "ablate"] as const satisfies readonly Intervention["kind"][];
export type Kind = Intervention["kind"];

/** As it is being typed: the value may be missing. */
export interface Draft {
  readonly latent: number | null;
  readonly kind: Kind;
  readonly value: number | null;
}

export const MEANINGS: Readonly<Record<Kind, string>> = {
  add: "a + value",
  scale: "a × value",
  clamp: "value, whatever a is",
  ablate: "0",
};

export function readDrafts(text: string | null): Draft[] {
  return (text ?? "").split(";").flatMap((part): Draft[] => {
    const [word, latent, value] = part.split(":");
    const kind = KINDS.find((name) => name === word);
    if (kind === undefined) return [];
    return [{ kind, latent: wholeOrNull(latent), value: numberOrNull(value) }];
  });
}

export function writeDrafts(drafts: readonly Draft[]): string {
  return drafts
    .map(({ kind, latent, value }) =>
      [kind, latent ?? "", ...(value === null || kind === "ablate" ? [] : [value])].join(":"),
    )
    .join(";");
}

/** What is sent; null where something is missing. */
export function completed(drafts: readonly Draft[], nLatents: number): Intervention[] | null {
  const whole = drafts.flatMap(({ kind, latent, value }): Intervention[] => {
    if (latent === null || latent >= nLatents) return [];
    if (kind === "ablate") return [{ kind, latent }];
    return value === null ? [] : [{ kind, latent, value }];
  });
  return whole.length === drafts.length ? whole : null;
}

function wholeOrNull(text: string | undefined): number | null {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : null;
}

export function numberOrNull(text: string | undefined): number | null {
  return text === undefined || text.trim() === "" || !Number.isFinite(Number(text)) ? null : Number(text);
}
