/**
 * The writing side of the small hub: repositories and branches are made, the upload mode of files is asked for, LFS
 * objects are stored whole or in parts on another origin, and a commit is made on its pinned parent or not at all.
 * Anything can be made to go wrong: see `disturb`.
 */
import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { type Revision, type StoredFile, storedFile } from "./hub-server.ts";

/**
 * What happens to a request instead: an answer of this status; its body not read to the end (`cut`), the answer lost
 * after the work was done (`lose`), or sent in half (`truncate`); its body damaged on the way (`damage`).
 */
export type Fault =
  | { readonly status: number; readonly retryAfter?: string }
  | "cut"
  | "lose"
  | "truncate"
  | "damage";

interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Record<string, string>;
}

/** Objects of more bytes are uploaded in parts of so many. */
const PART_BYTES = 40_000;

export class HubUploads {
  /** only this token is accepted; undefined: none is asked for */
  token: string | undefined;
  /** sha-256 → LFS object */
  readonly objects = new Map<string, Buffer>();
  /** LFS batches asked for: the transfers they offered */
  readonly transfers: string[][] = [];
  /** called before a commit is made: somebody else may be quicker */
  beforeCommit: (() => void) | undefined;
  readonly #repositories: Map<string, Map<string, Revision>>;
  readonly #origins: () => { hub: string; cdn: string };
  readonly #faults: { readonly where: RegExp; readonly faults: Fault[] }[] = [];
  readonly #parts = new Map<string, Buffer>();

  constructor(repositories: Map<string, Map<string, Revision>>, origins: () => { hub: string; cdn: string }) {
    this.#repositories = repositories;
    this.#origins = origins;
  }

  /** What is to happen to this request, once. */
  faultOf(request: string): Fault | undefined {
    return this.#faults.find(({ where, faults }) => faults.length > 0 && where.test(request))?.faults.shift();
  }

  /** The next requests whose method and path match meet these faults, one each. */
  disturb(where: RegExp, ...faults: Fault[]): void {
    this.#faults.push({ where, faults });
  }

  takes({ method }: IncomingMessage): boolean {
    return method === "POST" || method === "PUT";
  }

  /** Answers 401 if the request has another token than the accepted one. */
  refusesToken(request: IncomingMessage, response: ServerResponse): boolean {
    if (this.token === undefined || request.headers.authorization === `Bearer ${this.token}`) return false;
    send(response, { status: 401, body: { error: "Invalid credentials in Authorization header" } });
    return true;
  }

  async onHub(request: IncomingMessage, response: ServerResponse): Promise<void> {
    await this.#answer(request, response, (path, body) => {
      if (path === "/api/repos/create") return this.#create(JSON.parse(body.toString()));
      if (path === "/complete") return this.#complete(request.url ?? "", JSON.parse(body.toString()));
      const [, key, route, branch] =
        /^\/api\/(models\/[^/]+\/[^/]+)\/(preupload|commit|branch)\/(.+)$/.exec(path) ?? [];
      const lfs = /^\/([^/]+\/[^/]+)\.git\/info\/lfs\/objects\/batch$/.exec(path);
      if (lfs !== null) return this.#batch(JSON.parse(body.toString()));
      const revisions = this.#repositories.get(key);
      if (revisions === undefined) return { status: 404, body: { error: "no such repository" } };
      if (route === "branch") return this.#branch(revisions, branch, JSON.parse(body.toString()));
      if (!revisions.has(branch)) return { status: 404, body: { error: "no such branch" } };
      return route === "preupload"
        ? preupload(JSON.parse(body.toString()))
        : this.#commit(revisions, branch, body.toString());
    });
  }

  async onCdn(request: IncomingMessage, response: ServerResponse): Promise<void> {
    await this.#answer(request, response, (path, body) => {
      const [, sha256, part] = /^\/put\/([0-9a-f]{64})(?:\/(\d+))?$/.exec(path) ?? [];
      if (sha256 === undefined || request.headers.authorization !== undefined)
        return { status: 400, body: { error: "not a signed address" } };
      if (part === undefined) return this.#store(sha256, body);
      this.#parts.set(`${sha256}/${part}`, body);
      return { status: 200, body: {}, headers: { etag: `"${hash("md5", body)}"` } };
    });
  }

  async #answer(
    request: IncomingMessage,
    response: ServerResponse,
    work: (path: string, body: Buffer) => Answer,
  ): Promise<void> {
    const path = new URL(request.url ?? "/", this.#origins().hub).pathname;
    const fault = this.faultOf(`${request.method} ${path}`);
    if (fault === "cut") {
      request.once("data", () => request.socket.destroy());
      return;
    }
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer);
    } catch {
      return; // the other side went away
    }
    const body = Buffer.concat(chunks);
    if (typeof fault === "object") {
      const headers = fault.retryAfter === undefined ? undefined : { "retry-after": fault.retryAfter };
      send(response, { status: fault.status, body: { error: "as the test wants it" }, headers });
      return;
    }
    if (fault === "damage") body[body.length >> 1] ^= 1;
    const answer = work(path, body);
    if (fault === "lose") response.destroy();
    else if (fault === "truncate") {
      const text = JSON.stringify(answer.body);
      response.writeHead(answer.status, {
        "content-type": "application/json",
        "content-length": text.length,
      });
      response.write(text.slice(0, text.length >> 1), () => response.destroy());
    } else send(response, answer);
  }

  #create({ name, organization, visibility }: Record<string, string>): Answer {
    const key = `models/${organization}/${name}`;
    if (this.#repositories.has(key)) return { status: 409, body: { error: "you already created this" } };
    const files = [storedFile(".gitattributes", Buffer.from("*.safetensors filter=lfs\n"), false)];
    const first = { commit: hash("sha1", key), files, isPrivate: visibility === "private" };
    this.#repositories.set(
      key,
      new Map([
        ["main", first],
        [first.commit, first],
      ]),
    );
    return { status: 200, body: { url: `${this.#origins().hub}/${organization}/${name}`, id: key } };
  }

  #branch(revisions: Map<string, Revision>, branch: string, body: { startingPoint?: string }): Answer {
    const from = revisions.get(body.startingPoint ?? "main");
    if (from === undefined) return { status: 404, body: { error: "no such starting point" } };
    revisions.set(decodeURIComponent(branch), from);
    return { status: 200, body: {} };
  }

  #batch(body: { transfers: string[]; objects: { oid: string; size: number }[] }): Answer {
    this.transfers.push(body.transfers);
    const { hub, cdn } = this.#origins();
    const objects = body.objects.map(({ oid, size }) => {
      if (this.objects.has(oid)) return { oid, size };
      if (size <= PART_BYTES)
        return { oid, size, actions: { upload: { href: `${cdn}/put/${oid}?signature=secret`, header: {} } } };
      const parts = Array.from({ length: Math.ceil(size / PART_BYTES) }, (_, i) => {
        const part = String(i + 1).padStart(5, "0");
        return [part, `${cdn}/put/${oid}/${part}?signature=secret`];
      });
      const header = { chunk_size: String(PART_BYTES), ...Object.fromEntries(parts) };
      return { oid, size, actions: { upload: { href: `${hub}/complete?oid=${oid}`, header } } };
    });
    return { status: 200, body: { transfer: "basic", objects } };
  }

  #store(sha256: string, bytes: Buffer): Answer {
    if (hash("sha256", bytes) !== sha256) return { status: 400, body: { error: "BadDigest" } };
    this.objects.set(sha256, bytes);
    return { status: 200, body: {} };
  }

  #complete(url: string, body: { oid: string; parts: { partNumber: number; etag: string }[] }): Answer {
    const oid = new URL(url, this.#origins().hub).searchParams.get("oid") ?? "";
    const parts = body.parts.map(({ partNumber, etag }) => {
      const bytes = this.#parts.get(`${oid}/${String(partNumber).padStart(5, "0")}`);
      return bytes !== undefined && etag === `"${hash("md5", bytes)}"` ? bytes : Buffer.alloc(0);
    });
    return this.#store(oid, Buffer.concat(parts));
  }

  #commit(revisions: Map<string, Revision>, branch: string, body: string): Answer {
    this.beforeCommit?.();
    const lines = body.split("\n").map((line) => JSON.parse(line) as { key: string; value: CommitValue });
    const { parentCommit } = lines[0].value;
    const head = revisions.get(branch)!;
    if (parentCommit !== undefined && parentCommit !== head.commit)
      return { status: 412, body: { error: "A commit has happened since. Please refresh and try again." } };
    const files = new Map<string, StoredFile>(head.files.map((file) => [file.path, file]));
    for (const { key, value } of lines.slice(1)) {
      const bytes =
        key === "lfsFile" ? this.objects.get(value.oid) : Buffer.from(value.content, value.encoding);
      if (bytes === undefined || (key === "lfsFile" && bytes.length !== value.size))
        return { status: 400, body: { error: `LFS object ${value.oid} of ${value.path} is not there` } };
      files.set(value.path, storedFile(value.path, bytes, key === "lfsFile"));
    }
    const all = [...files.values()];
    const commit = hash("sha1", head.commit + all.map((file) => file.path + file.sha256).join("\n"));
    const revision = { ...head, commit, files: all };
    revisions.set(branch, revision);
    revisions.set(commit, revision);
    return { status: 200, body: { success: true, commitOid: commit, commitUrl: "", hookOutput: "" } };
  }
}

interface CommitValue {
  readonly parentCommit?: string;
  readonly path: string;
  readonly oid: string;
  readonly size: number;
  readonly content: string;
  readonly encoding: BufferEncoding;
}

/** As the hub decides with a new repository's rules. */
function preupload({ files }: { files: { path: string; size: number }[] }): Answer {
  const answer = files.map(({ path, size }) => ({
    path,
    uploadMode: path.endsWith(".safetensors") || size > 10_000_000 ? "lfs" : "regular",
    shouldIgnore: false,
  }));
  return { status: 200, body: { files: answer } };
}

function hash(algorithm: string, content: string | Buffer): string {
  return createHash(algorithm).update(content).digest("hex");
}

function send(response: ServerResponse, { status, body, headers }: Answer): void {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify(body));
}
