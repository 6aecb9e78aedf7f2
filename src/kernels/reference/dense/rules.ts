/** Which rule an architecture's latents follow. */
import type { DenseArchitecture, Weights } from "../../kernels.ts";
import { gatedRule } from "./gated.ts";
import { jumpReluRule } from "./jumprelu.ts";
import type { Rule } from "./rule.ts";
import { standardRule } from "./standard.ts";

/** The rule of an architecture with these parameters. */
export function ruleOf(architecture: DenseArchitecture, weights: Weights): Rule {
  switch (architecture.kind) {
    case "standard":
      return standardRule(architecture, weights);
    case "gated":
      return gatedRule(weights);
    case "jumprelu":
      return jumpReluRule(architecture, weights);
  }
}
