/**
 * Is the SAE in a folder the one that its contract describes? Encodes the golden inputs in one pass over the encoder
 * (`stream-encoder.ts`), decodes the expected latents from their decoder rows, compares both, and cfg.json. Weights that
 * the golden inputs do not use are seen by hashes alone.
 */
import { join } from "node:path";
import { FormatError, UnsupportedError } from "../errors.ts";
import { isObject } from "../formats/json-fields.ts";
import { openSaelens } from "../formats/saelens.ts";
import { openSae } from "../sae/load.ts";
import type { Sae } from "../sae/sae.ts";
import { statIfPresent } from "../storage/file-error.ts";
import { hashFile } from "../storage/hash.ts";
import { readJson } from "../storage/json.ts";
import { CONTRACT, type Contract, contractedCfg, GOLDEN, readContract } from "./contract.ts";
import { type Golden, readGolden } from "./golden.ts";
import { plainCut, plainInputs, plainLatents, plainReconstruction } from "./plain-sae.ts";
import { preActivations } from "./stream-encoder.ts";

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
  const json = await readJson(path, { maxBytes: 1 << 24 });
  if (!isObject(json)) throw new FormatError(path, "not a JSON object");
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
    throw new FormatError(join(dir, CONTRACT), `files does not name ${GOLDEN}`);
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
