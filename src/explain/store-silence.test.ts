/** Silence by encoding stored activations again, against the plain answer; and contexts that end where documents do. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ActivationStore } from "../activations/activations.ts";
import { openActivationStore } from "../activations/store.ts";
import { openWriter } from "../activations/writer.ts";
import type { WindowSet } from "../corpus/windows.ts";
import type { SparseActs } from "../kernels/kernels.ts";
import { Philox } from "../random/philox.ts";
import { withinDocuments } from "./document-edges.ts";
import type { Example } from "./examples.ts";
import { pieceOf } from "./silence.ts";
import { silenceByStores } from "./store-silence.ts";

const D_IN = 4;
const N_WINDOWS = 9;
const WINDOW = 20;
const draw = new Philox(5, "store");
/** Activation of latent l at a row: its l-th entry above 0.8; one in five. */
const value = (set: number, window: number, position: number, latent: number) =>
  draw.uniform(((set * N_WINDOWS + window) * WINDOW + position) * D_IN + latent);
const fires = (...at: Parameters<typeof value>) => value(...at) > 0.8;
/** Position 0 and every seventh are not kept. */
const kept = (position: number) => position % 7 !== 0;

async function encode(x: Float32Array): Promise<SparseActs> {
  const offsets = [0];
  const latents: number[] = [];
  const values: number[] = [];
  for (let row = 0; row < x.length / D_IN; row++) {
    for (let latent = 0; latent < D_IN; latent++)
      if (x[row * D_IN + latent] > 0.8) {
        latents.push(latent);
        values.push(x[row * D_IN + latent]);
      }
    offsets.push(latents.length);
  }
  return {
    nTokens: x.length / D_IN,
    offsets: Uint32Array.from(offsets),
    latents: Uint32Array.from(latents),
    values: Float32Array.from(values),
  };
}

/** An example of `latent` wherever it fires at a kept position: 3 tokens before, 4 after, as far as there are. */
function example(set: number, window: number, position: number, latent: number): Example {
  const [from, to] = [Math.max(0, position - 3), Math.min(WINDOW, position + 5)];
  const tokens = Array.from({ length: to - from }, (_, i) => ` ${from + i}`);
  return {
    latent,
    rank: 0,
    value: value(set, window, position, latent),
    set,
    document: window,
    window,
    position,
    at: position - from,
    tokens,
    acts: tokens.map(() => 0),
  };
}

function allExamples(): Example[] {
  const found: Example[] = [];
  for (const set of [0, 1])
    for (let window = 0; window < N_WINDOWS; window++)
      for (let position = 0; position < WINDOW; position++)
        for (let latent = 0; latent < D_IN; latent++)
          if (kept(position) && fires(set, window, position, latent))
            found.push(example(set, window, position, latent));
  return found;
}

describe("silenceByStores", () => {
  let root: string;
  let stores: ActivationStore[];
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "lapidary-silence-"));
    stores = [];
    for (const set of [0, 1]) {
      const dir = join(root, String(set));
      const identity = { dIn: D_IN, hookName: "blocks.0.hook_resid_post", set: `set-${set}`, provenance: {} };
      const writer = await openWriter(dir, { dtype: "f32", ...identity });
      for (let shard = 0; shard < N_WINDOWS / 3; shard++) {
        const rows = Array.from({ length: 3 * WINDOW }, (_, i) => ({
          window: 3 * shard + Math.floor(i / WINDOW),
          position: i % WINDOW,
        })).filter(({ position }) => kept(position));
        const labels = Uint32Array.from(rows, ({ window }) => window);
        await writer.writeShard(
          shard,
          {
            nRows: rows.length,
            activations: Float32Array.from(
              rows.flatMap(({ window, position }) =>
                Array.from({ length: D_IN }, (_, latent) => value(set, window, position, latent)),
              ),
            ),
            tokenIds: labels,
            window: labels,
            position: Uint32Array.from(rows, ({ position }) => position),
            document: labels,
            role: new Uint8Array(rows.length),
          },
          { firstWindow: 3 * shard, nWindows: 3 },
        );
      }
      await writer.finish();
      stores.push(await openActivationStore(dir));
    }
  });
  afterAll(async () => {
    for (const store of stores) await store.close();
    await rm(root, { recursive: true, force: true });
  });

  it("says of every latent and context what looking at each position says", async () => {
    const wanted = allExamples().flatMap((each) =>
      Array.from({ length: D_IN }, (_, latent) => ({ latent, example: each })),
    );
    const silence = await silenceByStores({ stores, encode, wanted });
    const counts = { silent: 0, fires: 0 };
    for (const { latent, example } of wanted) {
      const piece = pieceOf(example);
      let plain: "silent" | "fires" = "silent";
      for (let position = piece.from; position < piece.to; position++)
        if (kept(position) && fires(piece.set, piece.window, position, latent)) plain = "fires";
      expect(silence(latent, piece)).toBe(plain);
      counts[plain]++;
    }
    expect(Math.min(counts.silent, counts.fires)).toBeGreaterThan(100);
  });

  it("knows nothing of what was not asked, and encodes no other windows", async () => {
    const [first] = allExamples();
    let nEncoded = 0;
    const counting = (x: Float32Array) => {
      nEncoded += x.length / D_IN;
      return encode(x);
    };
    const silence = await silenceByStores({
      stores,
      encode: counting,
      wanted: [{ latent: 3, example: first }],
    });
    expect(silence(2, pieceOf(first))).toBe("unknown");
    expect(silence(3, { ...pieceOf(first), set: 1 })).toBe("unknown");
    expect(silence(3, pieceOf(first))).not.toBe("unknown");
    expect(nEncoded).toBeLessThanOrEqual(first.tokens.length);
  });

  it("refuses stores and SAEs that are not those that were indexed", async () => {
    const [first] = allExamples();
    const of = (changes: Partial<Example>) =>
      silenceByStores({ stores, encode, wanted: [{ latent: 3, example: { ...first, ...changes } }] });
    await expect(of({ value: 2 })).rejects.toThrow(/the index says 2/);
    await expect(of({ window: 77 })).rejects.toThrow(/do not hold position/);
    const nothing = async (x: Float32Array) => ({ ...(await encode(new Float32Array(x.length))) });
    await expect(
      silenceByStores({ stores, encode: nothing, wanted: [{ latent: 3, example: first }] }),
    ).rejects.toThrow(/is 0 at position/);
  });
});

describe("withinDocuments", () => {
  /** Documents 4, 5 and 6 in window 0: positions 0–6, 7–9, 10–19. */
  const documents = Uint32Array.from({ length: WINDOW }, (_, p) => (p < 7 ? 4 : p < 10 ? 5 : 6));
  const set: WindowSet = {
    dir: "made-up",
    manifest: null as never,
    read: async (from) => {
      expect(from).toBe(0);
      return { document: documents } as never;
    },
  };
  const cut = async (position: number, document: number) =>
    (await withinDocuments([{ ...example(0, 0, position, 0), document }], [set]))[0];

  it("leaves tokens of the example's own document, and its place among them", async () => {
    expect(await cut(8, 5)).toMatchObject({ tokens: [" 7", " 8", " 9"], at: 1, position: 8 });
    expect(await cut(6, 4)).toMatchObject({ tokens: [" 3", " 4", " 5", " 6"], at: 3 });
    expect(await cut(10, 6)).toMatchObject({ tokens: [" 10", " 11", " 12", " 13", " 14"], at: 0 });
    expect(await cut(15, 6)).toEqual({ ...example(0, 0, 15, 0), document: 6 });
    expect(pieceOf(await cut(8, 5))).toEqual({ set: 0, window: 0, from: 7, to: 10 });
  });

  it("refuses a corpus set that says otherwise than the index", async () => {
    await expect(cut(8, 4)).rejects.toThrow(/is of document 5, the index says 4/);
  });
});
