/**
 * `npm run bench -- peers`: Lapidary beside SAELens, in one run. This reads the options and prints; compare.ts compares.
 */
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { provenance, saveFigures } from "../../src/bench/provenance.ts";
import { SIZES, type SizeName } from "../../src/bench/sizes.ts";
import { LapidaryError } from "../../src/errors.ts";
import { type Comparison, compare } from "./compare.ts";

const HELP = `npm run bench -- peers [train|encode] [options]

  train: a whole training step (default); encode: JumpReLU
  --size tiny|small|reference   default tiny
  --batch <tokens>              default 1024
  --dead <percent>              train: dead latents, with AuxK; default 0
  --threads <n>                 default: all cores
  --rounds <n>                  ours, theirs, ours, theirs …; default 4 of each
  --seconds <n>                 what each does in a round, at least one turn; default 3
  --save                        keeps the result under bench/results
  --json                        one line of JSON on standard output

All but rounds and seconds hold for both sides. LAPIDARY_PEER_PYTHON names a Python that has torch, safetensors and sae_lens
(6.18 or later); it may be any executable that behaves as python does, such as a wrapper script.
`;

const NO_PYTHON = `peers: LAPIDARY_PEER_PYTHON is not set, so there is nothing to compare with
  try: pip install torch sae-lens in a Python environment of its own, and LAPIDARY_PEER_PYTHON=<its python>
`;

const RESULTS = fileURLToPath(new URL("../results", import.meta.url));

/** @returns the exit code */
export async function peers(args: readonly string[]): Promise<number> {
  const complain = (text: string, code: number) => {
    process.stderr.write(text);
    return code;
  };
  let asked: Asked | null;
  try {
    asked = readOptions(args);
  } catch (error) {
    return complain(`peers: ${(error as Error).message}\n  try: npm run bench -- peers --help\n`, 2);
  }
  if (asked === null) return complain(HELP, 0);
  const python = process.env["LAPIDARY_PEER_PYTHON"];
  if (python === undefined || python === "") return complain(NO_PYTHON, 2);
  try {
    const { figures, lines, variant } = await compare(python, asked.comparison, (line) =>
      complain(`${line}\n`, 0),
    );
    const stored = { ...(await provenance()), ...figures };
    process.stderr.write(`${lines.join("\n")}\n`);
    if (asked.json) process.stdout.write(`${JSON.stringify(stored)}\n`);
    if (asked.save) process.stderr.write(`saved as ${await saveFigures(RESULTS, variant, stored)}\n`);
    return 0;
  } catch (error) {
    if (!(error instanceof LapidaryError)) throw error;
    return complain(`peers: ${error.message}\n${error.hint ? `  try: ${error.hint}\n` : ""}`, 1);
  }
}

interface Asked {
  readonly comparison: Comparison;
  readonly save: boolean;
  readonly json: boolean;
}

/** Null: help was asked for. @throws {Error} an option without a meaning */
function readOptions(args: readonly string[]): Asked | null {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      size: { type: "string", default: "tiny" },
      batch: { type: "string", default: "1024" },
      dead: { type: "string", default: "0" },
      threads: { type: "string", default: String(availableParallelism()) },
      rounds: { type: "string", default: "4" },
      seconds: { type: "string", default: "3" },
      save: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return null;
  const [bench = "train", ...more] = positionals;
  if ((bench !== "train" && bench !== "encode") || more.length > 0)
    throw new Error(`train or encode is compared, not ${positionals.join(" ")}`);
  if (!Object.hasOwn(SIZES, values.size))
    throw new Error(`no size ${values.size}; there are ${Object.keys(SIZES).join(", ")}`);
  const number = (
    name: "batch" | "dead" | "threads" | "rounds" | "seconds",
    isFit: (n: number) => boolean,
  ) => {
    const n = Number(values[name]);
    if (values[name].trim() === "" || !isFit(n)) throw new Error(`--${name} ${values[name]} makes no sense`);
    return n;
  };
  const isCount = (n: number) => Number.isInteger(n) && n > 0;
  const comparison = {
    bench,
    size: values.size as SizeName,
    batchTokens: number("batch", isCount),
    dead: number("dead", (n) => n >= 0 && n < 100),
    threads: number("threads", isCount),
    rounds: number("rounds", isCount),
    seconds: number("seconds", (n) => n > 0 && n < 1e6),
  } as const;
  if (bench === "encode" && comparison.dead > 0) throw new Error("--dead belongs to train");
  return { comparison, save: values.save, json: values.json };
}
