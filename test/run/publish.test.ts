/**
 * `publish` and `pull` against a small hub on this machine: a run goes there and comes back with the same hashes, is
 * verified from what was downloaded, and neither output nor files ever hold the token.
 */
import { cp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { hashFile } from "../../src/storage/hash.ts";
import { HubServer } from "../hub-server.ts";
import { brokenLinks, linksOf, markdownProblems } from "../markdown.ts";
import { commandLine } from "./command-line.ts";
import { type Finished, smallRecipe, smallRun, startCli } from "./small-recipe.ts";

const TOKEN = "hf_secretsecretsecret";
const NAME = "me/saes";
const SAE = "btk-mat-layer-4-k-32";
const HOOK = "blocks.4.hook_resid_post";
const { eval: evaluation, train } = smallRecipe(join(tmpdir(), "beside")) as { eval: object; train: object };

let folder: string;
let server: HubServer;
let printed = "";

beforeAll(async () => {
  const made = await smallRun({
    polish: { when: "never" },
    train: { ...train, epochs: 1, checkpointEverySteps: 1000 },
    eval: { ...evaluation, domains: [], splice: null, gate: 0.999 },
  });
  folder = made.folder;
  const { code, stderr } = await commandLine(folder, "run", made.recipe, "--quiet");
  expect({ code, stderr }).toEqual({ code: 3, stderr: "" }); // done, and below its gate
});
afterAll(() => rm(folder, { recursive: true, force: true }));

beforeEach(async () => {
  server = await HubServer.start();
  server.uploads.token = TOKEN;
  vi.stubEnv("HF_ENDPOINT", server.url);
  vi.stubEnv("HF_TOKEN", TOKEN);
  vi.stubEnv("LAPIDARY_CACHE", join(folder, "cache"));
  await cp(join(folder, "runs/small"), join(folder, "runs/copy"), { recursive: true });
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await server.close();
  for (const name of ["runs/copy", "cache", "back"])
    await rm(join(folder, name), { recursive: true, force: true });
  expect(printed).not.toContain("secret");
  printed = "";
});

async function lapidary(...args: string[]): Promise<Finished> {
  const finished = await commandLine(folder, ...args);
  printed += finished.stdout + finished.stderr;
  return finished;
}
const publish = (...more: string[]) =>
  lapidary("publish", "runs/copy", `hf:${NAME}`, "--below-gate", "--license", "apache-2.0", ...more);
const inRun = (...path: string[]) => join(folder, "runs/copy", ...path);
const resultOf = ({ stdout }: Finished) => JSON.parse(stdout.trim().split("\n").at(-1)!).result;
const writes = () => server.requests.filter(({ method }) => method !== "GET");
const onHub = (revision = "main") =>
  Object.fromEntries(
    (server.revision(NAME, revision)?.files ?? []).map(({ path, sha256 }) => [path, sha256]),
  );

it("a run is published whole, verified from what was downloaded, and comes back with the same hashes", async () => {
  const plan = resultOf(await publish("--dry-run", "--json"));
  expect(writes()).toEqual([]);
  const { code, stdout, stderr } = await publish();
  expect(stderr).not.toContain("lapidary:");
  expect(code).toBe(0);
  expect(stdout).toMatch(/Verified: revision [0-9a-f]{40}, downloaded again, is what was measured/);

  const verification = JSON.parse(await readFile(inRun("verification.json"), "utf8"));
  expect(verification).toMatchObject({ repository: NAME, layers: [{ layer: 4, id: SAE }] });
  const { ".gitattributes": _made, ...first } = onHub(verification.revision);
  expect(first).toEqual(
    Object.fromEntries(plan.files.map(({ path, sha256 }: Record<string, string>) => [path, sha256])),
  );
  expect(Object.keys(first)).toEqual(
    expect.arrayContaining([
      "README.md",
      `${SAE}/cfg.json`,
      `${SAE}/sae_weights.safetensors`,
      `evals/${HOOK}.after.json`,
      `train/${HOOK}/metrics.jsonl`,
      `train/${HOOK}/events.jsonl`,
      "report/index.html",
    ]),
  );
  expect(first[`${SAE}/sae_weights.safetensors`]).toBe(
    verification.layers[0].files["sae_weights.safetensors"],
  );
  const changed = Object.entries(onHub()).filter(([path, sha256]) => path in first && first[path] !== sha256);
  expect(changed.map(([path]) => path)).toEqual(["README.md"]);
  expect(writes().filter(({ url }) => url.includes("/commit/"))).toHaveLength(2);
  const card = server
    .revision(NAME)!
    .files.find(({ path }) => path === "README.md")!
    .bytes.toString();
  expect(card).toContain(`## Verification\n\nRevision \`${verification.revision}\` of \`${NAME}\``);
  expect(card).toMatch(/^license: "apache-2.0"$/m);

  expect((await lapidary("pull", `hf:${NAME}`, "back")).code).toBe(0);
  const pulled = Object.fromEntries(
    await Promise.all(
      Object.keys(onHub()).map(async (path) => [path, await hashFile(join(folder, "back", path))]),
    ),
  );
  expect(pulled).toEqual(onHub());
  expect((await readdir(join(folder, "back"))).filter((name) => name.startsWith(".lapidary"))).toEqual([]);
  for (const name of await readdir(inRun("sae", SAE)))
    expect(pulled[`${SAE}/${name}`]).toBe(await hashFile(inRun("sae", SAE, name)));

  server.requests.length = 0;
  expect((await publish()).stdout).toContain("Nothing to send");
  expect(writes()).toEqual([]);

  const verified = await lapidary("verify", "runs/copy");
  expect(verified.code).toBe(0);
});

it("in spite of a fault at every step, publishing and pulling end in the same hashes", async () => {
  const { uploads } = server;
  uploads.disturb(/\/repos\/create$/, { status: 503 });
  uploads.disturb(/\/preupload\//, { status: 429, retryAfter: "0.1" });
  uploads.disturb(/objects\/batch$/, "truncate");
  uploads.disturb(/^PUT/, "cut", "damage");
  uploads.disturb(/\/commit\//, "lose", { status: 500 });
  server.breakAfter(`${SAE}/sae_weights.safetensors`, 5000, 20_000);
  server.failWith(`${SAE}/cfg.json`, 500, 429);
  const { code, stdout } = await publish();
  expect(code).toBe(0);
  expect(stdout).toContain("downloaded again, is what was measured");
  expect((await lapidary("pull", `hf:${NAME}`, "back")).code).toBe(0);
  expect(await hashFile(join(folder, "back", SAE, "sae_weights.safetensors"))).toBe(
    await hashFile(inRun("sae", SAE, "sae_weights.safetensors")),
  );
  for (const [path, sha256] of Object.entries(onHub()))
    expect(await hashFile(join(folder, "back", path))).toBe(sha256);
  expect(onHub()["README.md"]).toBe(await hashFile(inRun("README.md")));
});

it("the dry run lists path, bytes and LFS, and what is there already is not sent", async () => {
  const { stdout, code } = await publish("--dry-run");
  expect(code).toBe(0);
  expect(stdout).toMatch(
    /^To hf:me\/saes, branch main \(the repository would be made\), licence apache-2.0; nothing is sent/,
  );
  expect(stdout).toMatch(/^ +\d+ {2}LFS {2}btk-mat-layer-4-k-32\/sae_weights\.safetensors$/m);
  expect(stdout).toMatch(/^ +\d+ {7}README\.md$/m);
  expect(stdout).toMatch(/^\d+ files to send, \d+ bytes in all/m);
  expect(await readdir(inRun())).not.toContain("verification.json");
  await publish();
  const again = resultOf(await publish("--dry-run", "--json"));
  expect(again).toMatchObject({ exists: true, sentBytes: 0 });
  expect(again.files.every(({ isThere }: { isThere: boolean }) => isThere)).toBe(true);
});

it("stopped between its two commits, it goes on with the second; after a change, all is verified anew", async () => {
  server.uploads.beforeCommit = () => {
    server.uploads.beforeCommit = undefined;
    server.uploads.disturb(/\/commit\//, { status: 401 });
  };
  expect((await publish()).code).toBe(1);
  const first = server.revision(NAME)!.commit;
  expect(Object.keys(onHub())).not.toContain("verification.json");
  const { verified, commit, nSent } = resultOf(await publish("--json"));
  expect({ verified, nSent }).toEqual({ verified: first, nSent: 2 });
  expect(Object.keys(onHub())).toContain("verification.json");

  await writeFile(inRun("evals", "notes.json"), "{}\n");
  const later = resultOf(await publish("--json"));
  expect([first, commit]).not.toContain(later.verified);
  expect(Object.keys(onHub(later.verified))).toContain("evals/notes.json");
});

it("a run below its gate is refused with exit code 3, a missing licence with 2; nothing is sent", async () => {
  const gate = await lapidary("publish", "runs/copy", `hf:${NAME}`, "--license", "mit");
  expect(gate.code).toBe(3);
  expect(gate.stderr).toMatch(
    /lapidary: layer 4 is below the recipe's gate of VE 0.999; nothing was published\n {2}try: --below-gate/,
  );
  const licence = await lapidary("publish", "runs/copy", `hf:${NAME}`, "--below-gate");
  expect(licence.code).toBe(2);
  expect(licence.stderr).toMatch(/names no licence, and the source SAE declares none\n {2}try: .*--license/);
  expect(writes()).toEqual([]);
});

it("a saved SAE that was changed is refused before anything is sent", async () => {
  const path = inRun("sae", SAE, "cfg.json");
  await writeFile(path, `${await readFile(path, "utf8")}\n`);
  const { code, stderr } = await publish();
  expect(code).toBe(4);
  expect(stderr).toMatch(/cfg\.json is not what the run saved; nothing was published/);
  expect(writes()).toEqual([]);
});

it("what is published and does not verify is told, exits 4, and gets no verification", async () => {
  const path = inRun("evals", `${HOOK}.after.json`);
  await writeFile(path, (await readFile(path, "utf8")).replace(/"value": 0\.(\d)/, '"value": 0.0$1'));
  const { code, stderr } = await publish();
  expect(code).toBe(4);
  expect(stderr).toMatch(/me\/saes at [0-9a-f]{40}: btk-mat-layer-4-k-32 is not what was measured/);
  expect(Object.keys(onHub())).not.toContain("verification.json");
});

it("an expired token is one clear error, and names no secret", async () => {
  server.uploads.token = "hf_another";
  const { code, stderr } = await publish("--verbose");
  expect(code).toBe(1);
  expect(stderr).toMatch(/lapidary: me\/saes: the hub does not accept the token \(401\)/);
  expect(stderr).toMatch(/ {2}try: it may have expired/);
  vi.stubEnv("HF_TOKEN", "");
  vi.stubEnv("HF_TOKEN_PATH", join(folder, "none"));
  expect((await publish()).stderr).toMatch(/publishing needs a token/);
});

it("no file of the run or on the hub holds the token", async () => {
  await publish();
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  for (const entry of entries.filter((each) => each.isFile()))
    expect((await readFile(join(entry.parentPath, entry.name))).includes(TOKEN)).toBe(false);
  for (const { bytes } of server.revision(NAME)!.files) expect(bytes.includes(TOKEN)).toBe(false);
});

/** Where publishing is killed, in this order. `npm test` takes some; LAPIDARY_KILLS takes all. */
const MOMENTS: readonly [where: RegExp, nth: number, isAlways: boolean][] = [
  [/\/repos\/create$/, 1, false],
  [/\/preupload\//, 1, false],
  [/objects\/batch$/, 1, false],
  [/^PUT/, 2, true],
  [/\/commit\//, 1, true],
  [/\/resolve\//, 3, false],
  [/\/commit\//, 1, true],
];

it("killed at any moment of publishing, it goes on: the same hashes, and never a half of it", async () => {
  const plan = resultOf(await publish("--dry-run", "--json")).files as { path: string; sha256: string }[];
  const { "README.md": firstCard, ...wanted } = Object.fromEntries(
    plan.map(({ path, sha256 }) => [path, sha256]),
  );
  const all = process.env["LAPIDARY_KILLS"] !== undefined;
  for (const [where, nth] of MOMENTS.filter(([, , isAlways]) => all || isAlways)) {
    const args = ["publish", "runs/copy", `hf:${NAME}`, "--below-gate", "--license", "apache-2.0", "--quiet"];
    const { child, finished } = startCli(folder, args);
    let n = 0;
    server.onRequest = ({ method, url }) => {
      if (where.test(`${method} ${url}`) && ++n === nth) child.kill("SIGKILL");
    };
    const { code, stdout, stderr } = await finished;
    server.onRequest = undefined;
    printed += stdout + stderr;
    expect({ where, code }).toEqual({ where, code: null }); // a signal ended it
    const { ".gitattributes": _made, "verification.json": verified, "README.md": card, ...rest } = onHub();
    if (card === undefined) expect(rest).toEqual({});
    else expect(rest).toEqual(wanted);
    if (verified === undefined) expect(card ?? firstCard).toBe(firstCard);
  }
  expect((await publish()).code).toBe(0);
  const { ".gitattributes": _made, "verification.json": verified, "README.md": card, ...rest } = onHub();
  expect(rest).toEqual(wanted);
  expect(card).toBe(await hashFile(inRun("README.md")));
  expect(verified).toBe(await hashFile(inRun("verification.json")));
  expect((await readdir(inRun())).filter((name) => name.endsWith(".tmp"))).toEqual([]);
});

it("pull, killed midway, goes on", async () => {
  await publish();
  server.breakAfter(`${SAE}/sae_weights.safetensors`, 9000, 9000, 9000, 9000, 9000, 9000);
  const { child, finished } = startCli(folder, ["pull", `hf:${NAME}`, "back", "--quiet"]);
  server.onRequest = ({ server: side }) => {
    if (side === "cdn") setTimeout(() => child.kill("SIGKILL"), 200);
  };
  const { stdout, stderr } = await finished;
  printed += stdout + stderr;
  server.onRequest = undefined;
  server.breakAfter(`${SAE}/sae_weights.safetensors`);
  expect((await lapidary("pull", `hf:${NAME}`, "back")).code).toBe(0);
  for (const [path, sha256] of Object.entries(onHub()))
    expect(await hashFile(join(folder, "back", path))).toBe(sha256);
});

describe("the card alone", () => {
  const NEURONPEDIA = "https://www.neuronpedia.org/tiny-gemma/4-res";
  const card = (...more: string[]) => lapidary("card", "runs/copy", ...more);
  const cardOnHub = () =>
    server
      .revision(NAME)!
      .files.find(({ path }) => path === "README.md")!
      .bytes.toString();
  const commits = () => writes().filter(({ url }) => url.includes("/commit/")).length;

  it("is sent with a link, as one commit; later cards keep the link, and the licence it was published under", async () => {
    await publish();
    const before = onHub();
    server.requests.length = 0;
    const plan = resultOf(await card("--link", `neuronpedia=${NEURONPEDIA}`, "--dry-run", "--json"));
    expect(plan.plan.files).toMatchObject([{ path: "README.md", isThere: false }]);
    expect(plan.card).toContain(`[neuronpedia](${NEURONPEDIA})`);
    expect(writes()).toEqual([]);
    expect(await readdir(inRun())).toContain("card.json"); // the licence; no link yet
    expect(await readFile(inRun("card.json"), "utf8")).not.toContain("neuronpedia");

    const sent = await card("--link", `neuronpedia=${NEURONPEDIA}`);
    expect(sent.stderr).not.toContain("lapidary:");
    expect(sent.stdout).toMatch(/^Sent: hf:me\/saes@[0-9a-f]{40}$/m);
    expect(commits()).toBe(1);
    const { "README.md": old, ...rest } = before;
    const { "README.md": now, ...others } = onHub();
    expect(others).toEqual(rest);
    expect(now).not.toBe(old);
    expect(now).toBe(await hashFile(inRun("README.md")));
    expect(cardOnHub()).toContain(`- Elsewhere: [neuronpedia](${NEURONPEDIA})`);
    expect(cardOnHub()).toMatch(/^license: "apache-2.0"$/m);

    server.requests.length = 0;
    expect((await card("--link", `neuronpedia=${NEURONPEDIA}`)).stdout).toContain("Nothing to send");
    await card("--link", "other page=https://example.org/saes", "--no-publish");
    expect(writes()).toEqual([]);
    expect(cardOnHub()).not.toContain("example.org");
    expect((await card("--publish")).stdout).toMatch(/^Sent: /m);
    expect(cardOnHub()).toMatch(/\[neuronpedia\]\(https.*\n- Elsewhere: \[other page\]/);
    expect((await publish("--json")).code).toBe(0);
    expect(cardOnHub()).toContain("[other page]");

    const there = new Set(Object.keys(onHub()));
    expect(brokenLinks(cardOnHub(), (path) => there.has(path))).toEqual([]);
    expect(linksOf(cardOnHub())).toEqual(
      expect.arrayContaining(["report/index.html", "verification.json", `${SAE}/contract.json`]),
    );
    expect(await markdownProblems(cardOnHub())).toEqual([]);
  });

  it("in spite of faults; not at all on a branch that moved", async () => {
    await publish();
    server.uploads.disturb(/\/preupload\//, { status: 500 }, { status: 429 });
    server.uploads.disturb(/\/commit\//, "lose", "cut");
    expect((await card("--link", `neuronpedia=${NEURONPEDIA}`)).code).toBe(0);
    expect(onHub()["README.md"]).toBe(await hashFile(inRun("README.md")));

    server.uploads.beforeCommit = () => {
      server.uploads.beforeCommit = undefined;
      server.add({ type: "model", name: NAME, files: { "other.txt": "mine" } });
    };
    const moved = await card("--link", "other=https://example.org");
    expect(moved.code).toBe(1);
    expect(moved.stderr).toMatch(
      /main moved from .* nothing was published\n {2}try: look at what was committed/,
    );
    expect(Object.keys(onHub())).toEqual(["other.txt"]);
  });

  it("is refused where it would tell of what is not there; a link that is none is refused before anything", async () => {
    const absent = await card("--publish");
    expect(absent.code).toBe(1);
    expect(absent.stderr).toMatch(/is not published as it is now\n {2}try: lapidary publish/);
    expect((await card("--link", `neuronpedia=${NEURONPEDIA}`)).stdout).toContain(
      "Not sent: this run is not published",
    );
    await publish();
    await writeFile(inRun("evals", "notes.json"), "{}\n");
    server.requests.length = 0;
    const more = await card("--publish");
    expect(more.stderr).toMatch(
      /more than the card differs from what me\/saes holds: evals\/notes\.json; nothing was sent/,
    );
    for (const link of [
      "neuronpedia",
      "=https://example.org",
      "a=http://example.org",
      "a=javascript:alert(1)",
      "a=https://user:pass@example.org",
      "a=https://example.org/x)[y](https://evil.org",
      "a](b=https://example.org",
      "a=https://localhost",
    ]) {
      const { code, stderr } = await card("--link", link);
      expect({ link, code }).toEqual({ link, code: 2 });
      expect(stderr).toMatch(/cannot read .* as a link\n {2}try: name=https/);
    }
    expect(writes()).toEqual([]);
  });
});
