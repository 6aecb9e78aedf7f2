/** What is fuzzed: for each reader of untrusted files, small whole folders to damage, and how to read one. */
import { mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { openActivationStore } from "../../src/activations/store.ts";
import { openWriter } from "../../src/activations/writer.ts";
import { ChatTemplate } from "../../src/corpus/chat-template.ts";
import { openCorpusSource } from "../../src/corpus/sources/source.ts";
import { readTokenizerFolder } from "../../src/corpus/tokenizer-folder.ts";
import { openWindowSet } from "../../src/corpus/window-set.ts";
import { openArrowDataset } from "../../src/formats/arrow.ts";
import { NpzFile, parseNpyHeader } from "../../src/formats/npy.ts";
import type { PickleValue } from "../../src/formats/pickle.ts";
import { openSafetensors, writeSafetensors } from "../../src/formats/safetensors.ts";
import { openTensorFile } from "../../src/formats/sharded-safetensors.ts";
import { readTensorPickle, TorchFile, TorchTensor } from "../../src/formats/torch.ts";
import { ZipFile } from "../../src/formats/zip.ts";
import { writeZip } from "../../src/formats/zip-writer.ts";
import { createReferenceEngine } from "../../src/kernels/reference/engine.ts";
import { readModelConfig } from "../../src/models/model-config.ts";
import { relocateWeights } from "../../src/models/onnx-cut.ts";
import { parseOnnx } from "../../src/models/onnx-model.ts";
import { findResidualStream } from "../../src/models/residual-stream.ts";
import { tapGraph } from "../../src/models/taps.ts";
import { loadRecipe } from "../../src/pipeline/recipe/file.ts";
import { RunState } from "../../src/pipeline/run-state.ts";
import { checkContract } from "../../src/publish/check.ts";
import { isTrainingCheckpoint, loadSae, loadSparsity, loadTrainingSae } from "../../src/sae/load.ts";
import { writeSae } from "../../src/sae/writers/write.ts";
import { writeJson } from "../../src/storage/atomic.ts";
import { hashFile } from "../../src/storage/hash.ts";
import { findDamage, listCheckpoints, writeCheckpoint } from "../../src/train/checkpoint.ts";
import { loadFinalCheckpoint } from "../../src/train/final-checkpoint.ts";
import { type Exporter, MINI, miniatureGpt2, miniatureLlama } from "../models/miniature.ts";
import { GEMMA_CONFIG } from "../models/miniature-gemma.ts";
import { splitModel } from "../models/two-halves.ts";
import { madeUpContract } from "../publish/made-up-contract.ts";
import { ROOT } from "../run/small-recipe.ts";

/** Files of a folder by their path in it. */
export type Seed = ReadonlyMap<string, Uint8Array>;

export interface Target {
  readonly name: string;
  /** `scratch` is an empty folder to make files in */
  seeds(scratch: string): Promise<Seed[]>;
  /** Reads all that a user of the folder would. */
  read(folder: string): Promise<void>;
  /** bytes that may be allocated at once however small the file; default 4 MiB beside a multiple of the files */
  readonly allowance?: number;
}

const GOLDEN = join(ROOT, "test/fixtures/golden");
const FOREIGN = join(ROOT, "test/fixtures/foreign");
const CORPUS = join(ROOT, "test/fixtures/corpus");

export const TARGETS: readonly Target[] = [
  {
    name: "safetensors",
    seeds: async (scratch) => {
      const path = join(scratch, "a.safetensors");
      await writeSafetensors(
        path,
        [
          { name: "x", dtype: "F32", shape: [3, 2], data: Float32Array.of(1, 2, 3, 4, 5, 6) },
          { name: "y", dtype: "BF16", shape: [2], data: Uint16Array.of(1, 2) },
          { name: "z", dtype: "I64", shape: [], data: BigInt64Array.of(7n) },
        ],
        { format: "pt" },
      );
      const golden = await readFile(join(GOLDEN, "topk_train/trace.safetensors"));
      return [await folderOf(scratch), new Map([["a.safetensors", golden]])];
    },
    async read(folder) {
      const file = await openSafetensors(join(folder, "a.safetensors"));
      try {
        for (const [name, { dtype, shape }] of file.tensors) {
          await file.read(name);
          if (/^B?F/.test(dtype)) await file.readF32(name);
          await file.readRows(name, 0, Math.min(1, shape[0] ?? 1));
        }
      } finally {
        await file.close();
      }
    },
  },
  {
    name: "safetensors in shards",
    seeds: async (scratch) => {
      const [one, two] = ["a-1.safetensors", "a-2.safetensors"];
      const f32 = (name: string, values: number[]) =>
        ({ name, dtype: "F32", shape: [values.length, 1], data: Float32Array.from(values) }) as const;
      await writeSafetensors(join(scratch, one), [f32("x", [1, 2]), f32("y", [3])]);
      await writeSafetensors(join(scratch, two), [f32("z", [4, 5, 6])]);
      const index = { metadata: { total_size: 24 }, weight_map: { x: one, y: one, z: two } };
      await writeJson(join(scratch, "a.safetensors.index.json"), index);
      return [await folderOf(scratch)];
    },
    async read(folder) {
      const file = await openTensorFile(join(folder, "a.safetensors.index.json"));
      try {
        for (const [name, { shape }] of file.tensors) {
          await file.numbers(name);
          if (shape.length === 2) await file.rows(name, 0, Math.min(1, shape[0]));
        }
      } finally {
        await file.close();
      }
    },
  },
  {
    name: "NumPy archive",
    seeds: async (scratch) => [
      ...(await seedsOf(FOREIGN, ["stored.npz", "deflated.npz"], "a.npz")),
      await withZip64(join(FOREIGN, "stored.npz"), join(scratch, "a.npz")),
    ],
    async read(folder) {
      const file = await NpzFile.open(join(folder, "a.npz"));
      try {
        for (const name of file.arrays.keys()) await file.read(name);
      } finally {
        await file.close();
      }
    },
    allowance: 20 * 2 ** 20, // what may be inflated whatever the ratio
  },
  {
    name: "NumPy header",
    seeds: async () => {
      const zip = await ZipFile.open(join(FOREIGN, "stored.npz"));
      const seeds = [...zip.entries.keys()].map(
        async (name) => new Map([["a.npy", await zip.read(name, { maxBytes: 4096 })]]),
      );
      return Promise.all(seeds).finally(() => zip.close());
    },
    read: async (folder) => void parseNpyHeader("a.npy", await readFile(join(folder, "a.npy"))),
  },
  {
    name: "torch checkpoint",
    seeds: async () => seedsOf(FOREIGN, ["state.pt", "proto4.pt", "backup.pt"], "a.pt"),
    async read(folder) {
      const file = await TorchFile.open(join(folder, "a.pt"));
      try {
        for (const tensor of tensorsIn(file.value)) await file.read(tensor);
      } finally {
        await file.close();
      }
    },
    allowance: 20 * 2 ** 20,
  },
  {
    name: "pickle",
    seeds: async () =>
      Promise.all(
        ["state", "proto4", "backup"].map(async (name) => {
          const zip = await ZipFile.open(join(FOREIGN, `${name}.pt`));
          const pickle = await zip.read(`${name}/data.pkl`, { maxBytes: 1 << 16 }).finally(() => zip.close());
          return new Map([["data.pkl", pickle]]);
        }),
      ),
    async read(folder) {
      tensorsIn(readTensorPickle("data.pkl", await readFile(join(folder, "data.pkl"))));
    },
  },
  {
    name: "SAELens directory",
    seeds: async () =>
      Promise.all(
        ["runner_output/output", "runner_output/checkpoint_final", "inference_saves/jumprelu/sae"].map(
          (name) =>
            folderOf(
              join(GOLDEN, name),
              /^(cfg|runner_cfg|activation_scaler)\.json$|^(sae_weights|sparsity)\.safe/,
            ),
        ),
      ),
    async read(folder) {
      await loadSae(folder);
      await loadSparsity(folder);
      if (await isTrainingCheckpoint(folder)) await loadTrainingSae(folder);
    },
  },
  ...[
    { name: "Gemma Scope", cases: ["gemma-scope-lost-path", "gemma-scope-attention"], allowance: 20 },
    { name: "Gemma Scope 2", cases: ["gemma-scope-2", "gemma-scope-2-affine"] },
    { name: "sparsify", cases: ["sparsify", "sparsify-skip-transcoder"] },
    {
      name: "dictionary_learning",
      cases: ["dl-standard", "dl-topk", "dl-matryoshka", "dl-jumprelu", "dl-gated"],
      allowance: 20,
    },
    { name: "OpenAI's SAEs", cases: ["openai-topk", "openai-relu"], allowance: 20 },
    { name: "Llama Scope", cases: ["llama-scope", "llama-scope-r1"] },
    { name: "SAEs by mapping", cases: ["mapping-jumprelu", "mapping-gated"] },
    { name: "SAEs by name", cases: ["qresearch", "hook-z", "layer-transcoder"], allowance: 20 },
  ].map(({ name, cases, allowance }) => foreignSaes(name, cases, allowance)),
  {
    name: "SAEs as Lapidary writes them",
    async seeds(scratch) {
      const written = [
        ["sparsify/layers.10", "sparsify"],
        ["dl-matryoshka/trainer_0/checkpoints/ae_500.pt", "dictionary-learning"],
        ["dl-gated/trainer_0", "gemma-scope"],
      ] as const;
      return Promise.all(
        written.map(async ([location, to]) => {
          await writeSae(join(scratch, to), await loadSae(join(FOREIGN, "saes", location)), to);
          return folderOf(join(scratch, to));
        }),
      );
    },
    read: async (folder) => void (await loadSae(folder)),
    allowance: 20 * 2 ** 20,
  },
  {
    name: "ONNX graph",
    seeds: async () => {
      const exporters: Exporter[] = ["dynamo", "torchscript", "genai", "bare"];
      const builders = [...exporters.map((exporter) => miniatureLlama(exporter)), miniatureGpt2()];
      return builders.map(({ builder }) => new Map([["model.onnx", builder.build()]]));
    },
    async read(folder) {
      const model = parseOnnx(await readFile(join(folder, "model.onnx")), "model.onnx");
      const stream = findResidualStream(model, MINI.nLayers);
      parseOnnx(tapGraph(model, [stream.layers[0]], { whole: true }).graph, "tapped");
      const outputs = model.outputs.slice(0, 1).map(({ name }) => name);
      const split = splitModel(model, stream, 0, outputs);
      parseOnnx(split.lower, "lower");
      parseOnnx(split.upper(new Map(split.boundary.map((name) => [name, "float32"]))), "upper");
      relocateWeights(model, (location) => `../${location}`);
    },
  },
  {
    name: "model config",
    seeds: async () => [new Map([["config.json", json(GEMMA_CONFIG)]])],
    read: async (folder) => void (await readModelConfig(join(folder, "config.json"))),
  },
  {
    name: "Arrow data set",
    seeds: async () => [await folderOf(join(GOLDEN, "cached_activations/dataset"))],
    async read(folder) {
      const dataset = await openArrowDataset(folder);
      for (const name of dataset.columns.keys()) await dataset.read(name, 0, dataset.nRows);
    },
  },
  {
    name: "activation store",
    seeds: async (scratch) => {
      const identity = { dtype: "bf16", dIn: 4, hookName: "h", set: "s", provenance: { model: [] } } as const;
      const writer = await openWriter(scratch, identity);
      const label = () => Uint32Array.from({ length: 5 }, (_, i) => i);
      const rows = {
        nRows: 5,
        activations: Float32Array.from({ length: 20 }, (_, i) => i / 3),
        tokenIds: label(),
        window: label(),
        position: label(),
        document: label(),
        role: new Uint8Array(5),
      };
      for (const shard of [0, 1]) await writer.writeShard(shard, rows, { firstWindow: shard, nWindows: 1 });
      await writer.finish();
      return [await folderOf(scratch)];
    },
    async read(folder) {
      const store = await openActivationStore(folder);
      try {
        await store.rows(0, store.nRows);
        if (store.nRows >= 2) await store.batches({ batchTokens: 2, seed: 1 }).batch(0, 0);
      } finally {
        await store.close();
      }
    },
  },
  {
    name: "window set",
    seeds: async (scratch) => {
      const path = join(scratch, "windows-00000.safetensors");
      const [shape, n] = [[2, 4], 8];
      const written = await writeSafetensors(path, [
        { name: "token_ids", dtype: "U32", shape, data: new Uint32Array(n) },
        { name: "document", dtype: "U32", shape, data: new Uint32Array(n) },
        { name: "lengths", dtype: "U32", shape: [2], data: Uint32Array.of(4, 4) },
        { name: "keep", dtype: "U8", shape, data: new Uint8Array(n) },
        { name: "role", dtype: "U8", shape, data: new Uint8Array(n) },
      ]);
      await writeJson(join(scratch, "manifest.json"), {
        format: "lapidary-windows",
        version: 1,
        set: "train",
        contextSize: 4,
        nWindows: 2,
        nTokens: 8,
        nKept: 6,
        requestedTokens: 6,
        exhausted: false,
        packing: "saelens",
        prependBos: true,
        bosTokenId: 2,
        padTokenId: 0,
        excludedTokenIds: [0, 2],
        tokenizerHash: await hashFile(path),
        chatTemplateHash: null,
        inputsHash: await hashFile(path),
        sources: [{ name: "a", kind: "text", location: "a.jsonl", documents: [0, 3], nKept: 6, files: [] }],
        files: [{ name: "windows-00000.safetensors", nWindows: 2, ...written }],
      });
      return [await folderOf(scratch)];
    },
    async read(folder) {
      const set = await openWindowSet(folder);
      await set.read(0, set.manifest.nWindows);
    },
  },
  {
    name: "checkpoint",
    seeds: async (scratch) => {
      const [dIn, dSae] = [3, 4];
      const config = { dIn, dSae, widths: [dSae], applyBDecToInput: true, rescaleActsByDecoderNorm: true };
      const engine = await createReferenceEngine(
        { ...config, training: true },
        {
          dIn,
          dSae,
          wEnc: new Float32Array(12).fill(0.1),
          wDec: new Float32Array(12).fill(0.2),
          bEnc: new Float32Array(dSae),
          bDec: new Float32Array(dIn),
        },
      );
      const state = {
        step: 2,
        tokens: 8,
        threshold: 0.5,
        dead: 0,
        guard: null,
        rollbacks: 0,
        incidents: [],
        seconds: 1,
      };
      const run = { config: { deadAfterTokens: 9 }, form: {}, batchesPerEpoch: 2, totalSteps: 2, inputs: {} };
      await writeCheckpoint(scratch, engine, new Float64Array(dSae), {
        state,
        run: run as never,
        logs: { metrics: { bytes: 0, sha256: "" }, events: { bytes: 0, sha256: "" } },
        finished: true,
      });
      await engine.dispose();
      return [await folderOf(scratch)];
    },
    async read(folder) {
      for (const checkpoint of await listCheckpoints(folder)) await findDamage(checkpoint);
      await loadFinalCheckpoint(folder);
    },
  },
  {
    name: "run.json",
    seeds: async (scratch) => {
      const state = await RunState.open(join(scratch, "run.json"), "a", { lapidary: "0" });
      await state.begin("train:4", { lr: 1 });
      await state.finish("train:4", { weightsHash: "a" }, 1);
      return [await folderOf(scratch)];
    },
    async read(folder) {
      const state = await RunState.open(join(folder, "run.json"), "a", { lapidary: "0" });
      for (const id of Object.keys(state.units)) {
        await state.isDone(id, {}, []);
        state.changes(id, { lr: 2 });
      }
    },
  },
  {
    name: "JSONL",
    seeds: async () => [
      new Map([["a.jsonl", lines(await readFile(join(ROOT, "assets/tiny-gemma/data/chat_heldout.jsonl")))]]),
    ],
    read: (folder) => documents(join(folder, "a.jsonl"), "chat"),
  },
  {
    name: "JSONL, zstd",
    seeds: async () => [new Map([["a.jsonl.zst", await readFile(join(CORPUS, "docs.jsonl.zst"))]])],
    read: (folder) => documents(join(folder, "a.jsonl.zst"), "text"),
    allowance: 300 * 2 ** 20, // the window that a frame may ask for
  },
  {
    name: "Parquet",
    seeds: async () =>
      Promise.all(
        ["chats.parquet", "text.parquet"].map(
          async (name) => new Map([[name, await readFile(join(CORPUS, name))]]),
        ),
      ),
    async read(folder) {
      const isChat = (await readdir(folder)).includes("chats.parquet");
      await documents(join(folder, isChat ? "chats.parquet" : "text.parquet"), isChat ? "chat" : "text");
    },
    allowance: 20 * 2 ** 20,
  },
  {
    name: "Parquet, more encodings",
    seeds: async () => {
      const files = await folderOf(join(CORPUS, "parquet"));
      return [...files.values()].map((bytes) => new Map([["a.parquet", bytes]]));
    },
    read: (folder) => textsAndChats(join(folder, "a.parquet")),
    allowance: 20 * 2 ** 20,
  },
  {
    name: "Arrow texts",
    seeds: async () => [await folderOf(join(CORPUS, "saved-dataset"))],
    read: textsAndChats,
  },
  {
    name: "tokenizer folder, chat template",
    seeds: async () => {
      const model = join(ROOT, "assets/tiny-gemma/it");
      const { model: inner, ...rest } = JSON.parse(await readFile(join(model, "tokenizer.json"), "utf8"));
      const vocab = Object.fromEntries(Object.entries(inner.vocab).slice(0, 40));
      const small = { ...rest, model: { ...inner, vocab, merges: inner.merges?.slice(0, 5) } };
      const files = new Map(await folderOf(model, /^(tokenizer_config\.json|chat_template\.jinja)$/));
      return [files.set("tokenizer.json", json(small))];
    },
    async read(folder) {
      const { chatTemplate, namedTokens } = await readTokenizerFolder(folder);
      if (chatTemplate === null) return;
      const messages = ["user", "assistant"].map((role) => ({ role, content: `I am the ${role}.` }));
      new ChatTemplate(chatTemplate, namedTokens).render(messages as never);
    },
  },
  {
    name: "contract",
    seeds: async (scratch) => {
      const kinds = [{ architecture: "jumprelu" }, { architecture: "topk", k: 3 }];
      return Promise.all(
        kinds.map(async (cfg) => {
          const dir = join(scratch, cfg.architecture);
          await madeUpContract(dir, cfg, 3);
          return folderOf(dir);
        }),
      );
    },
    read: async (folder) => void (await checkContract(folder)),
  },
  {
    name: "recipe",
    seeds: async () =>
      Promise.all(
        ["tiny-gemma.yaml", "gemma-4-e4b-it.yaml"].map(
          async (name) => new Map([["recipe.yaml", await readFile(join(ROOT, "recipes", name))]]),
        ),
      ),
    read: async (folder) => void (await loadRecipe(join(folder, "recipe.yaml"))),
  },
];

/** SAEs of other libraries, at the place that their case.json names. `allowance`: MiB that may be inflated. */
function foreignSaes(name: string, cases: readonly string[], allowance?: number): Target {
  const locations: string[] = [];
  return {
    name,
    async seeds() {
      const seeds: Seed[] = [];
      for (const folder of cases) {
        const path = join(FOREIGN, "saes", folder);
        locations.push(join(folder, JSON.parse(await readFile(join(path, "case.json"), "utf8")).location));
        const files = await folderOf(path, /^(?!case\.json|expected\.safetensors)/);
        seeds.push(new Map([...files].map(([file, bytes]) => [join(folder, file), bytes])));
      }
      return seeds;
    },
    async read(folder) {
      const [only] = await readdir(folder);
      const location = locations.find((path) => path.startsWith(`${only}/`)) ?? only;
      await loadSae(join(folder, location), { transcoders: "read" });
    },
    ...(allowance === undefined ? {} : { allowance: allowance * 2 ** 20 }),
  };
}

/** The same archive with all its sizes and places in 64 bits. */
async function withZip64(from: string, to: string): Promise<Seed> {
  const zip = await ZipFile.open(from);
  const inputs = [...zip.entries.values()].map(async ({ name, bytes }) => {
    const data = await zip.read(name, { maxBytes: bytes });
    return { name, bytes, pieces: () => [data] };
  });
  await writeZip(to, await Promise.all(inputs), { largeFrom: 0 }).finally(() => zip.close());
  return new Map([["a.npz", await readFile(to)]]);
}

/** A seed a file, each under the same name. */
function seedsOf(folder: string, names: readonly string[], as: string): Promise<Seed[]> {
  return Promise.all(names.map(async (name) => new Map([[as, await readFile(join(folder, name))]])));
}

/** Tensors in a state dict, or in a dict of dicts. */
function tensorsIn(value: PickleValue): TorchTensor[] {
  if (value instanceof TorchTensor) return [value];
  return value instanceof Map ? [...value.values()].flatMap(tensorsIn) : [];
}

async function documents(location: string, kind: "text" | "chat"): Promise<void> {
  const source = await openCorpusSource({ name: "a", location, kind, weight: 1 });
  for await (const document of source.documents(0, 10_000)) void document.index;
}

/** Both, also where the first is refused; the first error is thrown. */
async function textsAndChats(location: string): Promise<void> {
  const outcomes = await Promise.allSettled([documents(location, "text"), documents(location, "chat")]);
  for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
}

/** The files of a folder whose names fit. */
async function folderOf(folder: string, name = /./): Promise<Seed> {
  const files = new Map<string, Uint8Array>();
  for (const file of (await readdir(folder, { recursive: true })).sort())
    if (name.test(file) && (await stat(join(folder, file))).isFile())
      files.set(file, await readFile(join(folder, file)));
  return files;
}

function json(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

/** The first few lines. */
function lines(bytes: Uint8Array): Uint8Array {
  return new TextEncoder().encode(`${new TextDecoder().decode(bytes).split("\n").slice(0, 4).join("\n")}\n`);
}

/** An empty folder at `path`. */
export async function emptied(path: string): Promise<string> {
  await rm(path, { recursive: true, force: true });
  await mkdir(path, { recursive: true });
  return path;
}
