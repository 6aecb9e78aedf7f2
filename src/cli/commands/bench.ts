/** `lapidary bench`: how fast the engine is here, checked before it is timed, and what share of the machine that is. */
import { type Command, InvalidArgumentError, Option } from "commander";
import type { BenchOptions, BenchReport } from "../../bench/bench.ts";
import { BENCH_NAMES, BENCHES, type BenchName } from "../../bench/benches.ts";
import { chooseSize, SIZES, type SizeName } from "../../bench/sizes.ts";
import { RecipeError } from "../../errors.ts";
import type { Screening } from "../../kernels/kernels.ts";
import type { EnginePreference } from "../../kernels/select.ts";
import {
  addCommonOptions,
  addThreadsOption,
  type CommonOptions,
  layerList,
  positiveInteger,
} from "../options.ts";
import { createOutput } from "../output.ts";

interface BenchCommandOptions extends CommonOptions {
  readonly size: SizeName;
  readonly d?: number;
  readonly F?: number;
  readonly k?: number;
  readonly batch?: number;
  readonly engine: EnginePreference;
  readonly margin?: Screening;
  readonly seconds: number;
  readonly dead: number;
  readonly architecture?: BenchOptions["architecture"];
  readonly selection: "batch-topk" | "topk" | "threshold";
  readonly model?: string;
  readonly layers?: number[];
  readonly tokens?: number;
  readonly save?: string | true;
}

const DEFAULT_BENCHES: readonly BenchName[] = ["peaks", "train"];
/** Where `--save` puts results unless told otherwise. */
const RESULTS = "bench/results";

export function addBenchCommand(program: Command): void {
  addThreadsOption(addCommonOptions(program.command("bench")))
    .description("how fast training steps, encodes and harvests are here, checked before they are timed")
    .argument("[benches...]", `of ${BENCH_NAMES.join(", ")}`, [...DEFAULT_BENCHES])
    .addOption(
      new Option("--size <name>", "a size that figures are quoted at")
        .choices(Object.keys(SIZES))
        .default("tiny"),
    )
    .option("--d <n>", "input width, in place of the size's", positiveInteger)
    .option("--F <n>", "number of latents, in place of the size's", positiveInteger)
    .option("--k <n>", "latents a token, in place of the size's", positiveInteger)
    .option(
      "--batch <tokens>",
      "tokens of a batch (default: 1024; evaluate and index 2048, adam 64)",
      positiveInteger,
    )
    .option("--engine <name>", "auto, native, wasm, reference: who computes", "auto")
    .option("--margin <kind>", "of the native engine's screen: rigorous, none, or a number of sigmas", margin)
    .option("--seconds <n>", "time at least this long; three turns at least", positiveNumber, 5)
    .option("--dead <percent>", "train: share of dead latents, which get AuxK", percent, 0)
    .addOption(
      new Option(
        "--architecture <kind>",
        "train: one with dense gradients (default: matryoshka batch-topk)",
      ).choices(["standard", "gated", "jumprelu"]),
    )
    .addOption(
      new Option("--selection <kind>", "encode: what selects latents")
        .choices(["threshold", "topk", "batch-topk"])
        .default("threshold"),
    )
    .option("--model <folder>", "harvest: the model (default: the embedded tiny-gemma)")
    .option("--layers <list>", "harvest: layers to tap, e.g. 2,4 (default: at 1/4, 1/2 and 3/4)", layerList)
    .option(
      "--tokens <n>",
      "harvest, evaluate, index: tokens of one (default: for about --seconds; eight chunks)",
      positiveInteger,
    )
    .option("--save [folder]", `keep each result as a dated JSON file (default folder: ${RESULTS})`)
    .addHelpText(
      "after",
      `
Sizes: ${Object.values(SIZES)
        .map(({ name, dIn, dSae, k }) => `${name} (d ${dIn}, F ${dSae}, k ${k})`)
        .join(", ")}.
Each result names the machine, the commit, the batch, and the most memory this process held, all its benches together:
name one bench to learn what that one takes. With --json one line holds the last bench named, with tokensPerSecond (the
median) among its fields, and the others under "also".

Examples:
  $ lapidary bench
  $ lapidary bench train --size small
  $ lapidary bench train --size reference --batch 4096 --seconds 20 --save
  $ lapidary bench train --size small --architecture jumprelu
  $ lapidary bench encode --size small --selection threshold --json
  $ lapidary bench harvest --model <model folder> --layers 10,21 --tokens 8192`,
    )
    .action(async (names: readonly string[], options: BenchCommandOptions, command: Command) => {
      const benches = names.map(nameOf);
      for (const [option, ...owners] of OWNED)
        if (
          command.getOptionValueSource(option) === "cli" &&
          !benches.some((name) => owners.some((owner) => owner === name))
        )
          throw new RecipeError(
            `--${option} belongs to bench ${owners.join(" and ")}`,
            `lapidary bench ${owners[0]} --${option} …`,
          );
      if (options.architecture !== undefined && options.dead > 0)
        throw new RecipeError(
          "--dead gives AuxK to dead latents, which matryoshka batch-topk alone has",
          "leave out --dead or --architecture",
        );
      await bench(benches, options);
    });
}

/** Options that mean something to some benches only: these. */
const OWNED = [
  ["dead", "train"],
  ["architecture", "train"],
  ["selection", "encode"],
  ["model", "harvest"],
  ["layers", "harvest"],
  ["tokens", "harvest", "evaluate", "index"],
] as const;

async function bench(benches: readonly BenchName[], options: BenchCommandOptions): Promise<void> {
  const output = createOutput(options);
  const { provenance, saveFigures } = await import("../../bench/provenance.ts");
  const size = chooseSize(options.size, { dIn: options.d, dSae: options.F, k: options.k });
  const beside = await provenance();
  const reports: BenchReport[] = [];
  for (const name of benches) {
    const run = await BENCHES[name]();
    const { batch: batchTokens, threads, engine, margin: screening, seconds, dead, selection } = options;
    const { model, layers, tokens, architecture } = options;
    const note = (message: string) => {
      if (!output.json) output.event({ kind: "note", message });
    };
    const report = await run({
      size,
      batchTokens,
      threads,
      engine,
      screening,
      seconds,
      dead: name === "train" ? dead : 0,
      ...(architecture && { architecture }),
      selection,
      model,
      layers,
      tokens,
      note,
    });
    reports.push(report);
    if (!output.json) output.result(report.lines.join("\n"), report.figures);
    if (options.save !== undefined) {
      const folder = options.save === true ? RESULTS : options.save;
      note(`saved as ${await saveFigures(folder, report.variant, { ...beside, ...report.figures })}`);
    }
  }
  if (output.json) {
    const { headline, also } = arrange(reports);
    process.stdout.write(`${JSON.stringify({ kind: "result", ...beside, ...headline.figures, also })}\n`);
  }
}

/** The last report that counts tokens, or the last; and the figures of the others. */
function arrange(reports: readonly BenchReport[]) {
  const headline =
    reports.findLast(({ figures }) => figures.tokensPerSecond !== null) ?? reports[reports.length - 1];
  return { headline, also: reports.filter((report) => report !== headline).map(({ figures }) => figures) };
}

function nameOf(text: string): BenchName {
  const name = BENCH_NAMES.find((known) => known === text);
  if (name === undefined)
    throw new RecipeError(`no bench called ${text}`, `there are ${BENCH_NAMES.join(", ")}`);
  return name;
}

function margin(text: string): Screening {
  if (text === "rigorous" || text === "none") return { margin: text };
  const sigmas = Number(text);
  if (!(sigmas > 0)) throw new InvalidArgumentError("rigorous, none, or a number of sigmas is wanted");
  return { margin: "statistical", sigmas };
}

function positiveNumber(text: string): number {
  const n = Number(text);
  if (!(n > 0 && n < Number.POSITIVE_INFINITY)) throw new InvalidArgumentError("a positive number is wanted");
  return n;
}

function percent(text: string): number {
  const n = Number(text);
  if (text.trim() === "" || !(n >= 0 && n < 100))
    throw new InvalidArgumentError("a number from 0 to below 100 is wanted");
  return n;
}
