/**
 * The two entry points: what they export, by name, so that nothing joins or leaves the public face unnoticed; that every name
 * is explained where it is exported and where it is defined; and that the browser-safe one loads with no Node module at hand.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import * as browser from "../src/index.ts";
import * as node from "../src/node.ts";

const src = fileURLToPath(new URL("../src/", import.meta.url));

const BROWSER = [
  "DataError",
  "EndpointError",
  "EngineError",
  "FormatError",
  "GateError",
  "HubError",
  "LapidaryError",
  "ModelError",
  "Philox",
  "RecipeError",
  "ResourceError",
  "ShapeError",
  "StateError",
  "TrainingError",
  "UnsupportedError",
  "VerifyError",
  "bf16ToF32",
  "bytesPerElement",
  "canonicalHookName",
  "coefficientAt",
  "createReferenceEngine",
  "f16ToF32",
  "f32ToBf16",
  "f32ToF16",
  "formatBeforeAfterMarkdown",
  "formatBeforeAfterTable",
  "initTrainingSae",
  "learningRateAt",
  "openInference",
  "parseHookName",
  "recipeJsonSchema",
  "recipeSchema",
  "sameHook",
  "scoreOf",
  "toInferenceForm",
  "warmStart",
  "wasmEngineFactory",
  "withThreshold",
  "withoutInputScale",
];

const NODE = [
  "DEFAULT_WATCH",
  "LiveModel",
  "STAGES",
  "NeuronpediaClient",
  "SaelensStats",
  "Tokenizer",
  "TokenizerPool",
  "TriggerFinder",
  "buildCorpusSet",
  "calibrateLatents",
  "calibrateThreshold",
  "checkDisjoint",
  "compareLatents",
  "compareSaes",
  "createNativeEngine",
  "createWasmEngine",
  "dataText",
  "embeddedText",
  "evaluate",
  "evaluateRows",
  "evaluateSplice",
  "evaluateText",
  "evaluateTransfer",
  "explainIndex",
  "explainRun",
  "exportNeuronpedia",
  "exportSite",
  "findIndex",
  "foldInputMap",
  "harvest",
  "harvestWindows",
  "hubSettings",
  "importActivations",
  "indexRun",
  "indexSae",
  "inspectModel",
  "loadDocumentSums",
  "loadRecipe",
  "logitLensMemory",
  "loadSae",
  "loadSparsity",
  "loadTrainingSae",
  "checkContract",
  "log10Frequencies",
  "measureGeometry",
  "openActivationStore",
  "openIndex",
  "openLogitLens",
  "openResidualModel",
  "openSafetensors",
  "openSite",
  "openSplicedModel",
  "openWindowSet",
  "openWriter",
  "pairedDifferences",
  "parseRecipe",
  "plainText",
  "planExplain",
  "planExplainRun",
  "planHarvest",
  "planPublication",
  "planRecipe",
  "publishRun",
  "pull",
  "readFinishedTraining",
  "readTokenizerFolder",
  "recentring",
  "rescaling",
  "resolveSource",
  "runRecipe",
  "runSeeds",
  "saebenchMetrics",
  "saveDocumentSums",
  "saveSae",
  "selectEngine",
  "spliceWindows",
  "startServer",
  "stringifyRecipe",
  "train",
  "trainedSae",
  "triggerOf",
  "uploadNeuronpedia",
  "windowsFromText",
  "windowsInMemory",
  "writeDashboardBatches",
  "writeSae",
  "writeSafetensors",
];

describe("exported names", () => {
  it("lapidary", () => {
    expect(Object.keys(browser).sort()).toEqual([...BROWSER].sort());
  });

  it("lapidary/node: the same and more", () => {
    expect(Object.keys(node).sort()).toEqual([...BROWSER, ...NODE].sort());
  });
});

describe.each(["index.ts", "node.ts"])("%s", (file) => {
  const text = readFileSync(join(src, file), "utf8");
  const statements = [...text.matchAll(/^export (type )?(\{[^}]*\}|\*) from "([^"]+)";/gm)];

  it("says a line about what it exports", () => {
    const lines = text.split("\n");
    const bare = lines.filter((line, i) => /^export /.test(line) && !/\*\/$/.test(lines[i - 1]));
    expect(bare).toEqual(bare.filter((line) => line.includes('"./index.ts"')));
  });

  it("exports only names that are explained where they are defined", () => {
    const unexplained = statements.flatMap(([, , names, from]) => {
      const path = join(dirname(join(src, file)), from);
      const lines = readFileSync(path, "utf8").split("\n");
      const wanted = names === "*" ? null : new Set(names.match(/\w+/g)?.filter((name) => name !== "type"));
      return lines.flatMap((line, i) => {
        const name = /^export (?:async )?(?:function\*?|class|interface|type|const) (\w+)/.exec(line)?.[1];
        const isWanted = name !== undefined && (wanted === null || wanted.has(name));
        return isWanted && !/\*\/\s*$/.test(lines[i - 1] ?? "") ? [`${from}: ${name}`] : [];
      });
    });
    expect(unexplained).toEqual([]);
  });
});

it("lapidary loads where no Node module can be loaded", () => {
  const hook = `export async function resolve(specifier, context, next) {
    const found = await next(specifier, context);
    if (found.url.startsWith("node:")) throw new Error(specifier + " was wanted by " + context.parentURL);
    return found;
  }`;
  const register = `import { register } from "node:module"; register("data:text/javascript,${encodeURIComponent(hook)}");`;
  const load = (file: string) =>
    execFileSync(
      process.execPath,
      [
        "--import",
        import.meta.resolve("tsx"),
        "--import",
        `data:text/javascript,${encodeURIComponent(register)}`,
        join(src, file),
      ],
      { stdio: "pipe", encoding: "utf8" },
    );
  expect(load("index.ts")).toBe("");
  expect(() => load("node.ts")).toThrow(/was wanted by/); // the hook does refuse
});
