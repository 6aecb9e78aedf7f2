/**
 * Is the SAE in a folder the one that its contract describes? Encodes the golden inputs in one pass over the encoder as it
 * lies in the file, W_enc [dIn, dSae] a block of rows at a time, in double precision; decodes the expected latents from
 * their decoder rows; compares both, and cfg.json. Weights that the golden inputs do not use are seen by hashes alone.
 */
import { join } from "node:path";
import { FormatError, UnsupportedError } from "../errors.ts";
import { type OpenSaelens, openSaelens } from "../formats/saelens.ts";
import { openSae } from "../sae/load.ts";
import type { Sae } from "../sae/sae.ts";
import { statIfPresent } from "../storage/file-error.ts";
import { hashFile } from "../storage/hash.ts";
import { readJson } from "../storage/json.ts";
import { type Contract, contractedCfg, GOLDEN, readContract } from "./contract.ts";
import { type Golden, readGolden } from "./golden.ts";
import {
  type PlainInputs,
  plainCut,
  plainInputs,
  plainLatents,
  plainReconstruction,
  squares,
} from "./plain-sae.ts";

/** Something that is not as the contract says. */
export interface ContractDifference {
  readonly what: string;
  readonly expected: string | number;
  readonly found: string | number;
}

/** What a check found. */
export interface ContractCheck {
  readonly differences: readonly ContractDifference[];
  readonly nInputs: number;
  /** active latents compared, of all inputs together */
  readonly nLatents: number;
  /** whether all files were hashed, or the golden vector's alone */
  readonly hashed: boolean;
}

/** Differences of one kind that are told; the rest is counted. */
const TOLD = 4;
/** Values of W_enc read at a time: 4 MB of f32. */
const BLOCK_VALUES = 1 << 20;
/** Latents whose sums stay in the cache while a block's rows are added. */
const TILE = 2048;

/**
 * Checks the SAE in the local folder `dir`. `hashes`: also every file's content.
 * @throws {FormatError} no contract, or files that cannot be read at all
 * @throws {UnsupportedError} an SAE that has no contract: a transcoder, a training checkpoint
 */
export async function checkContract(dir: string, options: { hashes?: boolean } = {}): Promise<ContractCheck> {
  const contract = await readContract(dir);
  const hashed = options.hashes === true;
  const differences = [...(await compareCfg(dir, contract)), ...(await compareFiles(dir, contract, hashed))];
  const nInputs = contract.golden.inputs.length;
  if (differences.length > 0) return { differences, nInputs, nLatents: 0, hashed };
  const found = await compareGolden(dir, contract);
  return { ...found, nInputs, hashed };
}

async function compareCfg(dir: string, contract: Contract): Promise<ContractDifference[]> {
  const path = join(dir, "cfg.json");
  const json = await readJson<Record<string, unknown> | null>(path, { maxBytes: 1 << 24 });
  if (typeof json !== "object" || json === null) throw new FormatError(path, "not a JSON object");
  const found = contractedCfg(json);
  const differing = (of: string, a: object, b: object): ContractDifference[] =>
    [...new Set([...Object.keys(a), ...Object.keys(b)])].flatMap((key) => {
      const [expected, value] = [a, b].map((side) => shown((side as Record<string, unknown>)[key]));
      return key === "metadata" || expected === value
        ? []
        : [{ what: `${of}${key}`, expected, found: value }];
    });
  return [
    ...differing("cfg.json: ", contract.cfg, found),
    ...differing("cfg.json: metadata.", contract.cfg.metadata, found.metadata),
  ];
}

function shown(value: unknown): string {
  return value === undefined ? "absent" : (JSON.stringify(value).slice(0, 100) as string);
}

/** Sizes of all files that the contract names, and hashes: of all, or of the golden vector alone. */
async function compareFiles(dir: string, contract: Contract, all: boolean): Promise<ContractDifference[]> {
  if (contract.files[GOLDEN] === undefined)
    throw new FormatError(join(dir, "contract.json"), `files does not name ${GOLDEN}`);
  const differences: ContractDifference[] = [];
  for (const [name, { bytes, sha256 }] of Object.entries(contract.files)) {
    const path = join(dir, name);
    const info = await statIfPresent(path);
    if (info === null) differences.push({ what: name, expected: `${bytes} bytes`, found: "absent" });
    else if (name === "cfg.json" && !all)
      continue; // its layout is free: what it says is compared
    else if (info.size !== bytes)
      differences.push({ what: `${name}: bytes`, expected: bytes, found: info.size });
    else if (all || name === GOLDEN) {
      const found = await hashFile(path);
      if (found !== sha256) differences.push({ what: `${name}: sha-256`, expected: sha256, found });
    }
  }
  return differences;
}

async function compareGolden(
  dir: string,
  { golden: { inputs, tolerance } }: Contract,
): Promise<Pick<ContractCheck, "differences" | "nLatents">> {
  const { rows, ...sae } = await openSae(dir);
  await rows.close();
  const file = await openSaelens(dir);
  try {
    if (file.config.training !== null)
      throw new UnsupportedError(`${dir} is a training checkpoint`, "contracts are made of inference SAEs");
    const golden = await readGolden(join(dir, GOLDEN), { ...sae.config, n: inputs.length });
    const given = plainInputs(golden.inputs, sae.config, file.bDec);
    const p = await preActivations(file, sae, given);
    const reconstruction = await plainReconstruction(golden, given, sae.config, file.bDec, (j) =>
      file.rows("wDec", j, j + 1),
    );
    return {
      differences: [
        ...compareLatents(p, sae, golden, tolerance),
        ...compareReconstruction(reconstruction, golden, tolerance),
      ],
      nLatents: golden.latents.length,
    };
  } finally {
    await file.close();
  }
}

/** p [dSae, n], as `plain-sae.ts` defines it. */
async function preActivations(
  file: OpenSaelens,
  { config }: Pick<Sae, "config">,
  { n, centred }: PlainInputs,
): Promise<Float64Array> {
  const { dIn, dSae } = config;
  const p = new Float64Array(dSae * n);
  const step = Math.min(dIn, Math.max(1, Math.floor(BLOCK_VALUES / dSae)));
  let next = file.encoderInputs(0, step);
  for (let from = 0; from < dIn; from += step) {
    const to = Math.min(dIn, from + step);
    const block = await next;
    if (to < dIn) next = file.encoderInputs(to, Math.min(dIn, to + step)); // read while this one is added
    next.catch(() => {}); // told when it is waited for
    for (let tile = 0; tile < dSae; tile += TILE)
      for (let i = from; i < to; i += 2)
        addInputs(
          p,
          block,
          (i - from) * dSae,
          dSae,
          tile,
          Math.min(dSae, tile + TILE),
          pair(centred, dIn, i, to, n),
        );
  }
  // a gated SAE in the words of `sae/gated.ts`: p = e^r·(c·W) + b_mag
  for (let j = 0; j < dSae; j++) {
    const scale = file.gate === null ? 1 : Math.exp(file.gate.rMag[j]);
    for (let t = 0; t < n; t++) p[j * n + t] = p[j * n + t] * scale + file.bEnc[j];
  }
  if (config.rescaleActsByDecoderNorm) await scaleByNorms(p, file, config, n);
  return p;
}

/** c of dimensions i and i + 1 for the n inputs: [2, n]; of dimension `to` and beyond, zeros. */
function pair(centred: Float64Array, dIn: number, i: number, to: number, n: number): Float64Array {
  const c = new Float64Array(2 * n);
  for (let t = 0; t < n; t++) {
    c[t] = centred[t * dIn + i];
    if (i + 1 < to) c[n + t] = centred[t * dIn + i + 1];
  }
  return c;
}

/** p[j, t] += c[0, t] · block[at + j] + c[1, t] · block[at + dSae + j] for latents [from, to). */
function addInputs(
  p: Float64Array,
  block: Float32Array,
  at: number,
  dSae: number,
  from: number,
  to: number,
  c: Float64Array,
): void {
  const n = c.length / 2;
  const second = at + dSae < block.length ? at + dSae : at; // beyond the last row: any, times zero
  if (n !== 8) {
    for (let j = from; j < to; j++)
      for (let t = 0; t < n; t++) p[j * n + t] += c[t] * block[at + j] + c[n + t] * block[second + j];
    return;
  }
  const [a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7] = c; // the usual n, without a loop
  for (let j = from, e = from * 8; j < to; j++, e += 8) {
    const a = block[at + j];
    const b = block[second + j];
    p[e] += a0 * a + b0 * b;
    p[e + 1] += a1 * a + b1 * b;
    p[e + 2] += a2 * a + b2 * b;
    p[e + 3] += a3 * a + b3 * b;
    p[e + 4] += a4 * a + b4 * b;
    p[e + 5] += a5 * a + b5 * b;
    p[e + 6] += a6 * a + b6 * b;
    p[e + 7] += a7 * a + b7 * b;
  }
}

async function scaleByNorms(
  p: Float64Array,
  file: OpenSaelens,
  { dIn, dSae }: Sae["config"],
  n: number,
): Promise<void> {
  const step = Math.max(1, Math.floor(BLOCK_VALUES / dIn));
  for (let from = 0; from < dSae; from += step) {
    const to = Math.min(dSae, from + step);
    const block = await file.rows("wDec", from, to);
    for (let j = from; j < to; j++) {
      const norm = Math.sqrt(squares(block.subarray((j - from) * dIn, (j + 1 - from) * dIn)));
      for (let t = 0; t < n; t++) p[j * n + t] *= norm;
    }
  }
}

/** Latents that are active on one side alone or have another value, but for those too near to tell. */
function compareLatents(
  p: Float64Array,
  sae: Pick<Sae, "config" | "threshold">,
  golden: Golden,
  tolerance: number,
): ContractDifference[] {
  const { n, offsets, latents, values } = golden;
  const differences = new Differences("latents");
  const odd = p.findIndex((value) => !Number.isFinite(value));
  if (odd >= 0)
    return [{ what: `latent ${Math.floor(odd / n)}: pre-activation`, expected: "finite", found: p[odd] }];
  const found = plainLatents(p, n, sae);
  for (let t = 0; t < n; t++) {
    const near = tolerance * largest(values.subarray(offsets[t], offsets[t + 1]));
    const cut = plainCut(p, n, t, sae);
    const expected = new Map<number, number>();
    for (let e = offsets[t]; e < offsets[t + 1]; e++) expected.set(latents[e], values[e]);
    const active = new Set(found.latents.subarray(found.offsets[t], found.offsets[t + 1]));
    for (const j of new Set([...expected.keys(), ...active])) {
      const value = p[j * n + t];
      const what = `input ${t}, latent ${j}`;
      const wanted = expected.get(j);
      const isDecided = Math.abs(value - cut(j)) > near;
      if (wanted === undefined) {
        if (isDecided) differences.add({ what, expected: "not active", found: value });
      } else if (!active.has(j)) {
        if (isDecided) differences.add({ what, expected: wanted, found: "not active" });
      } else if (Math.abs(value - wanted) > near) differences.add({ what, expected: wanted, found: value });
    }
  }
  return differences.told();
}

function compareReconstruction(
  found: Float64Array,
  { n, reconstruction }: Golden,
  tolerance: number,
): ContractDifference[] {
  const dIn = reconstruction.length / n;
  const differences = new Differences("values of the reconstruction");
  for (let t = 0; t < n; t++) {
    const row = reconstruction.subarray(t * dIn, (t + 1) * dIn);
    const near = tolerance * largest(row);
    row.forEach((expected, i) => {
      const value = found[t * dIn + i];
      if (!(Math.abs(value - expected) <= near))
        // what is no number differs
        differences.add({ what: `input ${t}, reconstruction [${i}]`, expected, found: value });
    });
  }
  return differences.told();
}

/** The largest absolute value; 1 of zeros. */
function largest(values: Float64Array): number {
  let most = 0;
  for (const value of values) most = Math.max(most, Math.abs(value));
  return most === 0 ? 1 : most;
}

/** The first few, and how many more. */
class Differences {
  readonly #name: string;
  readonly #first: ContractDifference[] = [];
  #count = 0;

  constructor(name: string) {
    this.#name = name;
  }

  add(difference: ContractDifference): void {
    this.#count += 1;
    if (this.#first.length < TOLD) this.#first.push(difference);
  }

  told(): ContractDifference[] {
    const more = this.#count - this.#first.length;
    return more === 0
      ? this.#first
      : [...this.#first, { what: `more ${this.#name}`, expected: 0, found: more }];
  }
}
