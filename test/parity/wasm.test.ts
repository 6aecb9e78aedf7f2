/**
 * The WebAssembly engine: it agrees with the reference engine, gives the same bits wherever it runs, plans its memory,
 * and the module that is shipped is made from the sources beside it.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { readStamp, staleSources, WASM_FILE } from "../../scripts/build-wasm.mjs";
import { EngineError, ShapeError } from "../../src/errors.ts";
import type { Engine, EngineConfig, EngineFactory, Selection, Weights } from "../../src/kernels/kernels.ts";
import { selectEngine } from "../../src/kernels/select.ts";
import { openWasmEngine, wasmEngineFactory } from "../../src/kernels/wasm/engine.ts";
import { compileWasm, WasmInstance } from "../../src/kernels/wasm/instance.ts";
import { engineBytes, stepBytes } from "../../src/kernels/wasm/memory.ts";
import { InlineRunner, type WasmRunner } from "../../src/kernels/wasm/runner.ts";
import { createWasmEngine } from "../../src/kernels/wasm.ts";
import { Philox } from "../../src/random/philox.ts";
import { agreesWithReference } from "./against-reference.ts";
import { batchFor, bytesOf, cases, deadMask, hashOf, normals, stepOptions, weightsFor } from "./cases.ts";
import { denseAgreesWithReference } from "./dense-against-reference.ts";
import { denseCases, denseStepOptions, denseWeightsFor } from "./dense-cases.ts";
import { survivesLossesThatAreNotFinite } from "./promises.ts";
import { chosenFrom, difference, tightThresholds } from "./screening-answers.ts";
import { attacks, configFor, diceFor, inputsOf, weightsOf } from "./screening-attacks.ts";

const bytes = readFileSync(new URL(`../../${WASM_FILE}`, import.meta.url));

describe("the module that is shipped", () => {
  it("is made from the sources as they are: if this fails, npm run wasm", () => {
    expect(staleSources(bytes)).toEqual([]);
    expect(readStamp(bytes)?.compiler).toMatch(/clang/);
  });

  it("wants an error, a clock and nothing else", async () => {
    const module = (await compileWasm(bytes)) as unknown as WebAssembly.Module;
    const { Module } = (globalThis as unknown as { WebAssembly: { Module: Imports } }).WebAssembly;
    const wanted = Module.imports(module).map((one) => `${one.module}.${one.name}`);
    expect(wanted.sort()).toEqual(["host.fail", "host.milliseconds"]);
  });
});

interface Imports {
  imports(module: unknown): { readonly module: string; readonly name: string }[];
}

const inline = await wasmEngineFactory(bytes);

describe("wasm against reference", () => {
  agreesWithReference(inline);
  denseAgreesWithReference(inline);
});

describe("bits of the wasm engine", () => {
  const c = cases[2];

  async function trained(create: EngineFactory): Promise<string> {
    const engine = await create(c.config, weightsFor(c.config));
    const results: unknown[] = [];
    for (let step = 0; step < 3; step++) {
      const aux = step === 1 ? null : { coefficient: 0.5, dead: deadMask(c.config.dSae) };
      results.push(await engine.trainStep(batchFor(c, step), stepOptions(c.k, step, { aux })));
    }
    const hash = await hashOf(engine);
    await engine.dispose();
    return `${hash} ${JSON.stringify(results)}`;
  }

  it("are the same again, and the same on the calling thread as in a worker", async () => {
    const first = await trained(createWasmEngine);
    expect(await trained(createWasmEngine)).toBe(first);
    expect(await trained(inline)).toBe(first);
  });

  it("are these, on every machine", async () => {
    const stream = new Philox(5, "wasm bits");
    let at = 0;
    const uniform = (n: number, scale: number) =>
      Float32Array.from({ length: n }, () => (stream.uniform(at++) - 0.5) * scale);
    const [dIn, dSae] = [150, 200];
    const weights = {
      dIn,
      dSae,
      wEnc: uniform(dSae * dIn, 0.3),
      wDec: uniform(dSae * dIn, 0.3),
      bEnc: uniform(dSae, 0.1),
      bDec: uniform(dIn, 0.2),
    };
    const config = { ...c.config, dIn, dSae, widths: [30, dSae] };
    const engine = await createWasmEngine(config, weights);
    for (let step = 0; step < 3; step++)
      await engine.trainStep(
        uniform(40 * dIn, 2),
        stepOptions(6.5, step, { aux: { coefficient: 0.5, dead: deadMask(dSae) } }),
      );
    const acts = await engine.encode(uniform(10 * dIn, 2), { kind: "topk", k: 9 });
    const hash = createHash("sha256")
      .update(await hashOf(engine))
      .update(bytesOf(acts.latents))
      .update(bytesOf(acts.values))
      .update(bytesOf(await engine.decode(acts)));
    expect(hash.digest("hex")).toBe("151e10bdaa0fb6cc67eac9ae36097bec61bb86b8d1256b5c0660880102ace61f");
    await engine.dispose();
  });

  it("do not depend on how many tokens or rows are brought in at once", async () => {
    const config = { ...c.config, training: false, dSae: 20_000, widths: [20_000] }; // 5 million weights, two slices
    const engine = await createWasmEngine(config, null);
    const rows = manyNumbers(20_000 * config.dIn);
    await engine.write("wEnc", 0, rows);
    expect(sameBytes(await engine.read("wEnc", 0, 20_000), rows)).toBe(true);
    const x = normals(100 * config.dIn, "x");
    const many = new Float32Array(17_000 * config.dIn); // most of them zeros, at the end the rows of x
    many.set(x, many.length - x.length);
    const narrow = { ...config, dSae: 64, widths: [64] };
    const small = await createWasmEngine(narrow, weightsFor(narrow));
    for (const selection of [
      { kind: "topk", k: 5 },
      { kind: "threshold", thresholds: normals(64, "t", 0.5) },
    ] as const) {
      const few = await small.encode(x, selection);
      const all = await small.encode(many, selection);
      const from = all.offsets[16_900];
      expect(few.latents.length).toBeGreaterThan(400);
      expect(sameBytes(all.latents.slice(from), few.latents)).toBe(true);
      expect(sameBytes(all.values.slice(from), few.values)).toBe(true);
      expect([...all.offsets.slice(16_900)]).toEqual([...few.offsets].map((offset) => offset + from));
      const recon = await small.decode(all);
      expect(sameBytes(recon.slice(16_900 * config.dIn), await small.decode(few))).toBe(true);
    }
    await engine.dispose();
    await small.dispose();
  });
});

describe("the screen of the wasm engine", () => {
  for (const attack of attacks)
    it(`${attack.name}: every selection of the dense product's entries, to the bit`, async () => {
      const module = await compileWasm(bytes);
      const config = configFor(attack);
      const engine = await openWasmEngine(() => new InlineRunner(module), config, weightsOf(attack));
      const x = inputsOf(attack);
      const none = { kind: "threshold", thresholds: new Float32Array(config.dSae) } as const;
      await engine.setScreening({ margin: "none" });
      const all = await engine.encode(x, none);
      const dice = diceFor(`${attack.name} thresholds`);
      const selections: Selection[] = [
        none,
        { kind: "threshold", thresholds: tightThresholds(all, config.dSae, dice) },
        { kind: "threshold", thresholds: tightThresholds(all, config.dSae, dice) },
        { kind: "topk", k: 1 },
        { kind: "topk", k: 40 },
        { kind: "batch-topk", k: 0.9 },
        { kind: "batch-topk", k: 37.5 },
        { kind: "batch-topk", k: 3.3 },
      ];
      await engine.setScreening({ margin: "rigorous" });
      for (const selection of selections) {
        const what = `${selection.kind} ${"k" in selection ? selection.k : ""}`;
        expect(difference(await engine.encode(x, selection), chosenFrom(all, selection)), what).toBe("");
        if (selection.kind !== "batch-topk")
          expect((await engine.profile())?.screen, what).toBeGreaterThan(0);
      }
      await engine.dispose();
    });
});

describe("memory of the wasm engine", () => {
  const none: Weights = { dIn: 0, dSae: 0, ...arrays() };

  it("refuses an SAE that does not fit, before anything is taken, and says what it needs", async () => {
    const config = { ...cases[0].config, dIn: 2560, dSae: 65536, widths: [65536] };
    const never = () => {
      throw new Error("was started");
    };
    const refused = openWasmEngine(never, config, none);
    await expect(refused).rejects.toThrow(EngineError);
    await expect(refused).rejects.toThrow(/65536 latents and 2560 dimensions needs 4\.\d+ GB.* has 3\.50 GB/);
    await expect(refused).rejects.toMatchObject({ hint: expect.stringContaining("native engine") });
    const wide = { ...config, dIn: 60_001, dSae: 2, widths: [2] };
    await expect(openWasmEngine(never, wide, none)).rejects.toThrow(/60001, expected at most 60000/);
    // the same SAE fits without training, and is refused for its weights alone
    await expect(openWasmEngine(never, { ...config, training: false }, none)).rejects.toThrow(ShapeError);
  });

  it("refuses a batch that does not fit, and goes on with one that does", async () => {
    const widths = Array.from({ length: 128 }, (_, i) => i + 1);
    const config = { ...cases[0].config, dIn: 128, dSae: 128, widths };
    const engine = await createWasmEngine(config, weightsFor(config));
    const step = engine.trainStep(new Float32Array(64_000 * 128), stepOptions(4, 0));
    await expect(step).rejects.toThrow(/64000 tokens needs 4\.\d+ GB/);
    const batch = engine.encode(new Float32Array(64_000 * 128), { kind: "batch-topk", k: 128 });
    await expect(batch).resolves.toMatchObject({ nTokens: 64_000 });
    expect((await engine.trainStep(normals(128 * 4, "x"), stepOptions(4, 0))).l0).toBeGreaterThan(0);
    await engine.dispose();
  });

  it.each([
    ["inference", { dIn: 512, dSae: 40_000, training: false }, 0],
    ["training, long batch", { dIn: 64, dSae: 512 }, 20_000],
    ["training, many latents", { dIn: 256, dSae: 12_000 }, 300],
    ["training, AuxK by dense products", { dIn: 64, dSae: 300 }, 20_000],
    ["training, moments as bf16", { dIn: 512, dSae: 12_000, moments: "bf16" }, 300],
  ] as const)("takes no more than planned: %s", async (_, shape, nTokens) => {
    const config: EngineConfig = { ...cases[0].config, ...shape, widths: [100, shape.dSae] };
    const engine = await createWasmEngine(config, null);
    const { dIn, dSae } = config;
    for (const tensor of ["wEnc", "wDec"] as const)
      await engine.write(tensor, 0, manyNumbers(Math.min(512, dSae) * dIn));
    let planned = engineBytes(config);
    if (nTokens > 0) {
      const options = stepOptions(20, 0, { aux: { coefficient: 0.1, dead: deadMask(dSae) } });
      for (let step = 0; step < 2; step++)
        expect((await engine.trainStep(manyNumbers(nTokens * dIn), options)).l0).toBe(20);
      planned += stepBytes(config, nTokens, { kind: "batch-topk", k: 20 }, Math.ceil(dSae / 3));
    }
    const taken = await engine.memoryBytes();
    expect(taken).toBeLessThan(planned);
    await engine.dispose();
  });

  it("plans dense training, too, and refuses what does not fit", async () => {
    const c = denseCases.find(({ config }) => config.architecture.kind === "gated")!;
    const config = { ...c.config, dIn: 32, dSae: 600, widths: [600] };
    const engine = await createWasmEngine(config, denseWeightsFor({ ...c, config }));
    const options = denseStepOptions({ ...c, config }, 1);
    const nTokens = 10_000;
    for (let step = 0; step < 2; step++)
      expect((await engine.trainStep(manyNumbers(nTokens * 32), options)).l0).toBeGreaterThan(0);
    const planned = engineBytes(config) + stepBytes(config, nTokens, { kind: "own" }, 0);
    expect(await engine.memoryBytes()).toBeLessThan(planned);
    await expect(engine.trainStep(new Float32Array(3_000_000 * 32), options)).rejects.toThrow(
      /3000000 tokens needs \d+\.\d+ GB/,
    );
    const vast = { ...config, dIn: 2560, dSae: 40_000, widths: [40_000] }; // fits by size, not with its gradients
    const refused = openWasmEngine(() => new InlineRunner({} as never), vast, null);
    await expect(refused).rejects.toThrow(/40000 latents and 2560 dimensions needs 3\.\d+ GB/);
    await engine.dispose();
  });

  it("stops for good when memory is used up after all, and what C++ throws arrives", async () => {
    const instance = new WasmInstance(await compileWasm(bytes));
    instance.create({ ...cases[0].config, training: false });
    const [two, latents] = [Uint32Array.of(0, 2), Uint32Array.of(5, 4)];
    expect(() => instance.decode(two, latents, new Float32Array(2), 1)).toThrow(/token 0 has latent 4/);
    expect(() => instance.read(0, 0, 0, 2 ** 30 - 100, 1)).toThrow("out of memory");

    let closed = 0;
    const failing: WasmRunner = {
      call: (call, ..._) => {
        if (call === "norms") return Promise.reject(new Error("out of memory"));
        return Promise.resolve(undefined as never);
      },
      close: async () => {
        closed++;
      },
    };
    const engine = await openWasmEngine(() => failing, cases[0].config, null);
    await expect(engine.decoderNorms()).rejects.toThrow(/has stopped: out of memory/);
    expect(closed).toBe(1);
    await expect(engine.read("bDec", 0, 1)).rejects.toThrow(/has stopped/);
  });
});

describe("manners of the wasm engine", () => {
  const c = cases[0];
  const { config } = c;
  const weights = weightsFor(config);

  it("leaves the event loop free while it computes, and runs calls in their order", async () => {
    const large = { ...config, dIn: 256, dSae: 8192, widths: [8192], training: false };
    const engine = await createWasmEngine(large, weightsFor(large));
    const x = normals(200 * 256, "x");
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    const start = performance.now();
    const order: string[] = [];
    await Promise.all([
      engine.encode(x, { kind: "topk", k: 8 }).then(() => order.push("encode")),
      engine.decoderNorms().then(() => order.push("norms")),
    ]);
    const elapsed = performance.now() - start;
    clearInterval(timer);
    expect(order).toEqual(["encode", "norms"]);
    expect(ticks).toBeGreaterThan(Math.min(3, elapsed / 20));
    await engine.dispose();
    await expect(engine.decoderNorms()).rejects.toThrow(/disposed/);
  });

  it("takes the caller's arrays as they are and leaves them whole, views on larger ones too", async () => {
    const engine = await createWasmEngine(config, weights);
    const x = batchFor(c);
    const larger = new Float32Array(x.length + 10);
    larger.set(x, 5);
    const acts = await engine.encode(larger.subarray(5, 5 + x.length), { kind: "topk", k: 3 });
    expect(acts).toEqual(await engine.encode(x, { kind: "topk", k: 3 }));
    expect(x.length).toBe(c.nTokens * config.dIn);
    await engine.dispose();
  });

  survivesLossesThatAreNotFinite(createWasmEngine);

  it("refuses misuse with an error that says what was wanted, and still works", async () => {
    const engine = await createWasmEngine({ ...config, training: false }, weights);
    const x = batchFor(c);
    const decode = (offsets: number[], latents: number[]) =>
      engine.decode({
        nTokens: offsets.length - 1,
        offsets: Uint32Array.from(offsets),
        latents: Uint32Array.from(latents),
        values: new Float32Array(latents.length),
      });
    const bad: [string, (engine: Engine) => Promise<unknown>, typeof ShapeError | typeof EngineError][] = [
      ["x not whole rows", () => engine.encode(x.slice(1), { kind: "topk", k: 1 }), ShapeError],
      ["k above dSae", () => engine.encode(x, { kind: "batch-topk", k: 101 }), ShapeError],
      ["training", () => engine.trainStep(x, stepOptions(2, 0)), EngineError],
      ["moments", () => engine.read("m.wEnc", 0, 1), EngineError],
      ["rows", () => engine.write("wEnc", 99, new Float32Array(2 * config.dIn)), ShapeError],
      ["latents out of range", () => decode([0, 1], [100]), ShapeError],
      ["latents out of order", () => decode([0, 2], [5, 4]), ShapeError],
      ["offsets that fall", () => decode([0, 2, 1, 2], [5, 6]), ShapeError],
    ];
    for (const [what, call, error] of bad) await expect(call(engine), what).rejects.toThrow(error);
    expect((await engine.encode(new Float32Array(0), { kind: "topk", k: 1 })).offsets).toEqual(
      Uint32Array.of(0),
    );
    await engine.dispose();
  });

  it("is chosen by its name, with a numeric class of its own", async () => {
    const selected = await selectEngine("wasm");
    expect(selected.name).toBe("wasm");
    const engine = await selected.create(config, weights);
    expect([engine.name, engine.numericClass]).toEqual(["wasm", "fp32-mul-add16"]);
    await engine.dispose();
  });
});

/** Quickly made, between −0.5 and 0.5. */
function manyNumbers(n: number): Float32Array {
  const out = new Float32Array(n);
  for (let i = 0; i < n; i++) out[i] = (Math.imul(i, 0x9e3779b1) >> 8) / 2 ** 24;
  return out;
}

/** For arrays too long to be shown. */
function sameBytes(a: Float32Array | Uint32Array, b: Float32Array | Uint32Array): boolean {
  return Buffer.compare(bytesOf(a), bytesOf(b)) === 0;
}

function arrays() {
  const empty = new Float32Array(0);
  return { wEnc: empty, wDec: empty, bEnc: empty, bDec: empty };
}
