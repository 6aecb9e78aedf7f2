/** The limits that a verdict on transfer goes by: every one of its rules in one table. */

/** Each limit with what it decides. */
export const TRANSFER_LIMITS = {
  fineLoss: {
    value: 0.02,
    definition: "VE that an SAE may lose against the base model and still count as fitting.",
  },
  goodVe: {
    value: 0.8,
    definition: "VE from which an SAE counts as fitting where no base model is there to compare with.",
  },
  workingVe: {
    value: 0.5,
    definition: "VE on the base model below which the SAE counts as unfit for these texts on any model.",
  },
  recovers: {
    value: 0.5,
    definition:
      "Share of the lost VE that a fix, or leaving out the worst 0.1 % of tokens, must recover to be named as the cause.",
  },
  bothAddTo: {
    value: 0.1,
    definition:
      "Share of the lost VE by which re-centring and rescaling together must recover more than the better of them.",
  },
  boughtL0: {
    value: 0.5,
    definition:
      "Rise of L0 above that on the base model (else k), as a share of it, up to which a fix counts: beyond, VE is bought with more latents.",
  },
  flattery: {
    value: 0.05,
    definition:
      "VE that is lost without the 0.1 % of tokens of largest norm, from which VE counts as resting on outliers.",
  },
  protocolGap: {
    value: 0.05,
    definition: "VE on short texts minus VE in full contexts, from which the difference is spoken of.",
  },
  l0Change: {
    value: 0.25,
    definition:
      "Change of L0 against the base model (else against k), as a share of it, from which the threshold is spoken of.",
  },
} as const;

/** Names of the limits. */
export type TransferLimit = keyof typeof TRANSFER_LIMITS;

/** The value of one. */
export function limit(name: TransferLimit): number {
  return TRANSFER_LIMITS[name].value;
}
