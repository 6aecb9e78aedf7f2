/**
 * Explaining a made-up world whose rules are known, against a server on this machine: a judge that knows the rule scores
 * the right text near 1 and another latent's at chance; nothing that is shown is judged; failures are no scores.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { EXPLANATIONS } from "../../src/dashboard/explanations.ts";
import { planExplain } from "../../src/explain/run.ts";
import { pieceOf, type SilenceOf } from "../../src/explain/silence.ts";
import { ChatServer, type ChatServerOptions } from "./chat-server.ts";
import { isSilent, WORLD, writeMadeUpIndex } from "./made-up-index.ts";
import { knowsTheRule } from "./seen-prompt.ts";
import { against, explain, readManifest, readRows, Worlds } from "./worlds.ts";

let worlds: Worlds;
let server: ChatServer;
beforeAll(async () => {
  worlds = await Worlds.open();
});
afterAll(() => worlds.remove());
afterEach(() => server?.stop());

async function serve(changes: Partial<ChatServerOptions> = {}): Promise<ChatServer> {
  server = await ChatServer.start({ answer: knowsTheRule, ...changes });
  return server;
}

/** What the activation store would say. */
const truth: SilenceOf = (latent, piece) => (isSilent(latent, piece) ? "silent" : "fires");

describe("a judge that knows the rule", () => {
  it("scores the right text near 1, the baseline label too, another latent's text at chance", async () => {
    await serve({ logprobs: true });
    const folder = await worlds.copy();
    const latents = [0, 1, 2, 3, 4, 5, WORLD.dead];
    const { counts } = await explain(
      folder,
      against(server, { latents, baseline: true, silence: async () => truth }),
    );
    const rows = await readRows(folder);
    expect(rows.map((row) => row.latent)).toEqual(latents);
    for (const row of rows.slice(0, 6)) {
      expect(row).toMatchObject({
        explanation: `the word ${WORLD.words[Number(row.latent)]}`,
        failure: null,
        score_failure: null,
        n_positives: 10,
        n_negatives: 10,
        negative_error: 0,
        detection_accuracy: 1,
        detection_auc: 1,
        detection_baseline: 1,
        fuzzing_accuracy: 1,
        fuzzing_auc: 1,
        fuzzing_baseline: 1,
        fuzzing_judged: 20,
        fuzzing_failed: 0,
      });
      expect(row.n_hard_negatives).toBe(5);
      for (const control of ["detection_control", "fuzzing_control", "detection_control_auc"])
        expect(Math.abs(Number(row[control]) - 0.5), `${row.latent} ${control}`).toBeLessThan(0.2);
      expect(row.control_latent).not.toBe(row.latent);
    }
    expect(rows[6]).toMatchObject({
      explanation: null,
      failure: "it never fires on the indexed tokens",
      judge: null,
    });
    const { runs, definitions, index } = await readManifest(folder);
    expect(index).toMatch(/^[0-9a-f]{64}$/);
    expect(runs).toHaveLength(1);
    expect(runs[0].counts).toEqual({ latents: 7, explained: 6, failed: 1, scored: 6, leftOut: 0 });
    expect(runs[0].means.detection_accuracy).toBe(1);
    expect(runs[0].tokens.prompt! + runs[0].tokens.answer!).toBe(server.tokens);
    expect(counts.spentTokens).toBe(server.tokens);
    expect(Object.keys(definitions)).toEqual(
      expect.arrayContaining(["detection", "fuzzing", "negatives", "control", "accuracy", "auc", "interval"]),
    );
    expect(server.mostAtOnce).toBeGreaterThan(3); // of one latent too, judging is not one by one
  });

  it("is not fooled by a text that names the token alone: matched and hard negatives have it, too", async () => {
    await serve();
    const folder = await worlds.copy();
    await explain(folder, against(server, { latents: [0, WORLD.evenTwin, WORLD.oddTwin] }));
    const rows = await readRows(folder);
    for (const row of rows.slice(1)) {
      expect(row).toMatchObject({ explanation: "the word twin", negative_error: 0 });
      expect(Number(row.n_hard_negatives)).toBe(5);
      expect(Number(row.detection_accuracy)).toBeLessThan(0.8);
      expect(row.detection_auc).toBeNull(); // log-probabilities were not offered
    }
  });

  it("judges no context of a document or window that was shown, and none where silence is not known", async () => {
    await serve();
    const folder = await worlds.copy();
    const asked = new Map<number, readonly string[]>();
    const wanted: { latent: number; piece: string; silent: boolean }[] = [];
    await explain(
      folder,
      against(server, {
        latents: Array.from({ length: WORLD.nLatents }, (_, i) => i),
        control: false,
        silence: async (pieces) => {
          for (const { latent, example } of pieces)
            wanted.push({
              latent,
              piece: example.tokens.join("").trim(),
              silent: isSilent(latent, pieceOf(example)),
            });
          return truth;
        },
      }),
    );
    // tokens are " word", so a context's text is part of its document's, and documents are long enough to tell apart
    const plain = (text: string) => text.replaceAll(/[«»]/g, "");
    for (const { prompt } of server.seen)
      if (prompt.kind === "explain") asked.set(asked.size, prompt.texts.map(plain));
    const shownTexts = [...asked.values()].flat();
    expect(shownTexts.length).toBeGreaterThan(100);
    const judgedOf = (pattern: string) =>
      server.seen.flatMap(({ prompt }) =>
        prompt.kind !== "explain" && prompt.pattern === pattern ? prompt.texts.map(plain) : [],
      );
    for (const shown of asked.values()) {
      const word = WORLD.words.find((each) => shown.every((text) => text.split(" ").includes(each)));
      if (word === undefined) continue;
      const documents = new Set(shown.map(documentOf));
      const judged = judgedOf(`the word ${word}`);
      expect(judged.length).toBeGreaterThan(0);
      expect([...documents, ...judged.map(documentOf)]).not.toContain(-1);
      for (const text of judged) expect(documents.has(documentOf(text)), `${word}: ${text}`).toBe(false);
    }
    expect(wanted.some(({ silent }) => !silent)).toBe(true); // some candidates did fire, and had to be turned down
    const firing = new Set(
      wanted.filter(({ silent }) => !silent).map(({ latent, piece }) => `${latent} ${piece}`),
    );
    for (const { prompt } of server.seen)
      if (prompt.kind === "detection") {
        const latent = WORLD.words.findIndex((word) => prompt.pattern === `the word ${word}`);
        if (latent >= 0)
          for (const text of prompt.texts)
            if (!text.split(" ").includes(WORLD.words[latent]))
              expect(firing.has(`${latent} ${text}`)).toBe(false);
      }
  });

  it("takes no unproved negatives of a latent that fires often, and says so", async () => {
    await serve();
    const folder = await worlds.copy();
    await explain(folder, against(server, { latents: [WORLD.common, WORLD.rare], control: false }));
    const [common, rare] = await readRows(folder);
    expect(common).toMatchObject({ explanation: "the word the", detection_accuracy: null, judge: null });
    expect(common.score_failure).toMatch(
      /too few contexts in which it is known, or likely enough, not to fire: 0/,
    );
    expect(rare.score_failure).toMatch(/too few held-out documents in which it fires: 1,/);
    expect((await readManifest(folder)).runs[0].counts.scored).toBe(0);
  });
});

describe("answers that are none", () => {
  it("are failures with a reason, in no score and no mean", async () => {
    await serve();
    const folder = await worlds.copy();
    let nWrong = 0;
    server.faultOf = (prompt) => {
      if (prompt.kind === "explain") {
        if (prompt.text.includes("«apple»")) return { kind: "says", text: "I cannot tell." };
        if (prompt.text.includes("«bank»")) return { kind: "refusal", text: "I can't help with that." };
        if (prompt.text.includes("«cedar»")) return { kind: "says", text: "", finish: "length" };
      }
      if (prompt.kind === "detection" && prompt.pattern === "the word delta")
        return { kind: "says", text: "[1, 0, 1]" };
      if (prompt.kind === "fuzzing" && prompt.pattern === "the word ember" && nWrong++ === 0)
        return { kind: "says", text: "The first one fits." };
      return null;
    };
    await explain(
      folder,
      against(server, {
        latents: [0, 1, 2, 3, 4],
        contextsPerRequest: 5,
        control: false,
        silence: async () => truth,
      }),
    );
    const rows = await readRows(folder);
    expect(rows[0]).toMatchObject({ explanation: null, failure: "no line that begins with EXPLANATION:" });
    expect(rows[1]).toMatchObject({ explanation: null, failure: "refused: I can't help with that." });
    expect(rows[2].failure).toBe("an empty answer: it was cut off, allow longer answers");
    for (const row of rows.slice(0, 3))
      expect(row).toMatchObject({ detection_accuracy: null, n_positives: null });
    expect(rows[3]).toMatchObject({
      detection_accuracy: null,
      detection_judged: 0,
      detection_failed: 20,
      fuzzing_accuracy: 1,
      score_failure: "fewer than 4 contexts of a kind with a verdict that could be read",
    });
    expect(rows[4]).toMatchObject({
      fuzzing_accuracy: 1,
      fuzzing_judged: 15,
      fuzzing_failed: 5,
      score_failure: null,
    });
    const [{ counts, means }] = (await readManifest(folder)).runs;
    expect(counts).toMatchObject({ explained: 2, failed: 3, scored: 2 });
    expect(means).toMatchObject({ detection_accuracy: 1, fuzzing_accuracy: 1, detection_control: null });
  });
});

describe("results", () => {
  it("do not depend on the order in which answers come, nor on concurrency", async () => {
    const folders = [await worlds.copy(), await worlds.copy()];
    const latents = [0, 1, 6, WORLD.evenTwin];
    await serve({ logprobs: true });
    await explain(folders[0], against(server, { latents, concurrency: 1 }));
    await server.stop();
    let n = 0;
    await serve({ logprobs: true, delayOf: () => (n++ % 3) * 15 });
    await explain(folders[1], against(server, { latents, concurrency: 16 }));
    expect(await readRows(folders[1])).toEqual(await readRows(folders[0]));
    expect(await readManifest(folders[1])).toEqual(await readManifest(folders[0]));
  });

  it("of other latents, methods and models stay; those of the same are replaced; another index is refused", async () => {
    await serve();
    const folder = await worlds.copy();
    const score = 0;
    await explain(folder, against(server, { latents: [0, 1], score }));
    await explain(folder, against(server, { latents: [1, 2], score }));
    await explain(folder, against(server, { latents: [1], score, model: "another-model" }));
    await explain(folder, against(server, { latents: [1], score, promoted: false }));
    const keys = (await readRows(folder)).map(({ latent, method, model }) => [latent, method, model]);
    expect(keys).toEqual([
      [0, "examples+logits", "made-up-model"],
      [1, "examples", "made-up-model"],
      [1, "examples+logits", "another-model"],
      [1, "examples+logits", "made-up-model"],
      [2, "examples+logits", "made-up-model"],
    ]);
    expect((await readManifest(folder)).runs).toHaveLength(3);
    await writeMadeUpIndex(folder, 1); // the same tables; its manifest says otherwise
    const again = against(server, { latents: [3], score });
    await expect(explain(folder, again)).rejects.toThrow(/explains latents of an earlier index/);
    await explain(folder, { ...again, overwrite: true });
    expect((await readRows(folder)).map(({ latent }) => latent)).toEqual([3]);
  });

  it("have the columns that are announced, and only those", async () => {
    await serve();
    const folder = await worlds.copy();
    await explain(folder, against(server, { latents: [0], score: 0 }));
    const [row] = await readRows(folder);
    expect(Object.keys(row)).toEqual(EXPLANATIONS.columns.map(({ name }) => name));
  });
});

describe("the plan", () => {
  it("is made without sending anything, and is told before anything is sent", async () => {
    await serve();
    const folder = await worlds.copy();
    const options = against(server, { latents: [0, 1, WORLD.dead, WORLD.common], baseline: true });
    const plan = await planExplain(folder, options);
    expect(server.seen).toHaveLength(0);
    expect(plan).toMatchObject({ nLatents: 4, nSilent: 1, nToScore: 4, nUnscorable: 2 });
    expect(plan.samples.map(({ messages }) => messages.length)).toEqual([2, 2]);
    let seenBefore = -1;
    const { counts } = await explain(folder, { ...options, onPlan: () => (seenBefore = server.seen.length) });
    expect(seenBefore).toBe(0);
    expect(plan.explaining.requests + plan.scoring.requests).toBe(counts.sent);
    expect(Math.abs(plan.tokens / counts.spentTokens - 1)).toBeLessThan(0.5);
  });

  it("draws a sample of latents that fire, and of them a sample to score", async () => {
    await serve();
    const folder = await worlds.copy();
    const plan = await planExplain(folder, against(server, { sample: 9, score: 4 }));
    expect(plan).toMatchObject({ nLatents: 9, nSilent: 0, nToScore: 4 });
    await expect(planExplain(folder, against(server, { latents: [WORLD.nLatents] }))).rejects.toThrow(
      /no latent 17/,
    );
  });
});

/** The document a context is of: its first words, in the made-up world, stand in one document only. */
function documentOf(text: string): number {
  return WORLD.documents.findIndex((words) => words.join(" ").includes(text));
}
