/** One SAE on stores of activations: those of the base model first, the others compared with them. */
import { openActivationStore } from "../../activations/store.ts";
import { RecipeError } from "../../errors.ts";
import { evaluate } from "../../evals/evaluate.ts";
import { storeSource } from "../../evals/token-source.ts";
import { verdict } from "../../evals/transfer/diagnosis.ts";
import type { TransferCell } from "../../evals/transfer/report.ts";
import { diagnoseTransfer, type Home } from "../../evals/transfer/transfer.ts";
import type { InferenceSae } from "../../sae/inference.ts";
import { evaluateOptions, reporter, type TransferOptions } from "./options.ts";

/** A cell a store. A base store goes with the stores of its set; a single one with all. */
export async function onStores(inference: InferenceSae, options: TransferOptions): Promise<TransferCell[]> {
  const homes = new Map<string, Home>();
  const cells: TransferCell[] = [];
  const all = [
    ...options.baseStores.map((store) => ({ ...store, isBase: true })),
    ...options.stores.map((store) => ({ ...store, isBase: false })),
  ];
  for (const { name, path, isBase } of all) {
    const store = await openActivationStore(path);
    try {
      const report = reporter(options, name);
      const { set } = store.manifest;
      if (cells.some(({ model, text }) => model === name && text === set))
        throw new RecipeError(
          `two stores of set "${set}" are called "${name}"`,
          "name them: --data NAME=STORE",
        );
      const evaluation = await evaluate(inference, store, evaluateOptions(options, report));
      const alone = homes.size === 1 ? [...homes.values()][0] : null;
      const { diagnosis, home } = await diagnoseTransfer(inference, storeSource(store, {}), evaluation, {
        home: isBase ? null : (homes.get(set) ?? alone),
        seed: options.seed,
        signal: options.signal,
      });
      if (isBase) homes.set(set, home);
      cells.push({
        model: name,
        isBase,
        text: set,
        protocol: "store",
        windowTokens: null,
        result: evaluation.result,
        diagnosis,
        verdict: verdict(diagnosis),
        splice: null,
      });
    } finally {
      await store.close();
    }
  }
  return cells;
}
