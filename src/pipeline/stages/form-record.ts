/** What an exported SAE's cfg.json says of the form it was trained in. */
import type { DenseArchitecture } from "../../kernels/kernels.ts";
import type { TrainingSae } from "../../sae/sae.ts";

/** What was trained, by SAELens' names. */
export function formRecord({
  form,
  threshold,
}: Pick<TrainingSae, "form" | "threshold">): Record<string, unknown> {
  if (form.selection === "own")
    return {
      ...architectureRecord(form.architecture),
      sparsity_coefficient: form.sparsityCoefficient,
      sparsity_warm_up_steps: form.sparsityWarmUpSteps,
      ...(form.auxCoefficient > 0 && { pre_act_loss_coefficient: form.auxCoefficient }),
    };
  return {
    architecture: form.widths.length > 1 ? "matryoshka_batchtopk" : form.selection.replace("-", ""),
    k: form.k,
    matryoshka_widths: form.widths,
    topk_threshold: threshold,
  };
}

function architectureRecord(architecture: DenseArchitecture): Record<string, unknown> {
  switch (architecture.kind) {
    case "standard":
      return { architecture: "standard", lp_norm: architecture.lpNorm };
    case "gated":
      return { architecture: "gated" };
    case "jumprelu": {
      const { bandwidth, sparsity } = architecture;
      return {
        architecture: "jumprelu",
        jumprelu_bandwidth: bandwidth,
        jumprelu_sparsity_loss_mode: sparsity.loss,
        ...(sparsity.loss === "tanh" && { jumprelu_tanh_scale: sparsity.scale }),
      };
    }
  }
}
