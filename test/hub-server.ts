/**
 * A small Hugging Face hub on this machine, for tests: commits, file listings, files by range, large files behind a
 * redirect to another origin; what is written to it, in `hub-uploads.ts`. It notes every request, and can break a
 * connection or answer with an error on demand.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { HubUploads } from "./hub-uploads.ts";

export interface HubRequestNote {
  readonly server: "hub" | "cdn";
  readonly method: string;
  /** path and query */
  readonly url: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

export interface HubRepositoryContent {
  readonly type: "model" | "dataset";
  /** owner/name */
  readonly name: string;
  /** path → content */
  readonly files: Readonly<Record<string, string | Uint8Array>>;
  /** branch; default main */
  readonly revision?: string;
  /** files of at least so many bytes lie on the other origin, with a sha-256; default 1024 */
  readonly largeBytes?: number;
}

export interface StoredFile {
  readonly path: string;
  readonly bytes: Buffer;
  readonly large: boolean;
  readonly gitHash: string;
  readonly sha256: string;
}

export interface Revision {
  readonly commit: string;
  readonly files: readonly StoredFile[];
  /** of the repository; default public */
  readonly isPrivate?: boolean;
}

const PAGE = 3;

export class HubServer {
  readonly requests: HubRequestNote[] = [];
  /** told of each request as it arrives */
  onRequest: ((request: HubRequestNote) => void) | undefined;
  readonly #hub: Server;
  readonly #cdn: Server;
  /** `models/owner/name` → revision → content */
  readonly #repositories = new Map<string, Map<string, Revision>>();
  readonly #breaks = new Map<string, number[]>();
  readonly #failures = new Map<string, number[]>();
  /** what is written to the hub, and what goes wrong then */
  readonly uploads = new HubUploads(this.#repositories, () => ({ hub: this.url, cdn: this.#cdnUrl }));

  private constructor() {
    this.#hub = createServer((request, response) => this.#onHub(request, response));
    this.#cdn = createServer((request, response) => this.#onCdn(request, response));
  }

  static async start(): Promise<HubServer> {
    const server = new HubServer();
    for (const each of [server.#hub, server.#cdn])
      await new Promise<void>((resolve) => each.listen(0, "127.0.0.1", resolve));
    return server;
  }

  /** for HF_ENDPOINT */
  get url(): string {
    return `http://127.0.0.1:${(this.#hub.address() as AddressInfo).port}`;
  }

  get #cdnUrl(): string {
    return `http://127.0.0.1:${(this.#cdn.address() as AddressInfo).port}`;
  }

  /** Puts a revision of a repository in place; its commit is a hash of the content. */
  add(content: HubRepositoryContent): { commit: string } {
    const files = Object.entries(content.files).map(([path, value]) => {
      const bytes = Buffer.from(value);
      return storedFile(path, bytes, bytes.length >= (content.largeBytes ?? 1024));
    });
    const commit = createHash("sha1")
      .update(files.map((file) => file.path + file.sha256).join("\n"))
      .digest("hex");
    const key = `${content.type}s/${content.name}`;
    const revisions = this.#repositories.get(key) ?? new Map<string, Revision>();
    revisions.set(content.revision ?? "main", { commit, files });
    revisions.set(commit, { commit, files });
    this.#repositories.set(key, revisions);
    return { commit };
  }

  /** The next answers with bytes of `path` break off after so many bytes each. */
  breakAfter(path: string, ...bytes: number[]): void {
    this.#breaks.set(path, bytes);
  }

  /** The next answers about `path` have these statuses. */
  failWith(path: string, ...statuses: number[]): void {
    this.#failures.set(path, statuses);
  }

  /** Requests that asked for a file's bytes (not for commits, listings or redirects). */
  contentRequests(): HubRequestNote[] {
    return this.requests.filter(({ server, url }) => server === "cdn" || !url.startsWith("/api/"));
  }

  async close(): Promise<void> {
    for (const each of [this.#hub, this.#cdn]) {
      each.closeAllConnections();
      await new Promise((resolve) => each.close(resolve));
    }
  }

  #note(server: "hub" | "cdn", request: IncomingMessage): void {
    const { range, authorization } = request.headers;
    const note = {
      server,
      method: request.method ?? "",
      url: request.url ?? "",
      range,
      authorization,
    };
    this.requests.push(note);
    this.onRequest?.(note);
  }

  /** The repository as it stands: path → file; undefined: there is none. */
  revision(name: string, revision = "main"): Revision | undefined {
    return this.#revision(`models/${name}`, revision);
  }

  #onHub(request: IncomingMessage, response: ServerResponse): void {
    this.#note("hub", request);
    if (this.uploads.refusesToken(request, response)) return;
    if (this.uploads.takes(request)) {
      void this.uploads.onHub(request, response);
      return;
    }
    const url = new URL(request.url ?? "/", this.url);
    const api = /^\/api\/((?:models|datasets)\/[^/]+\/[^/]+)(?:\/(revision|tree)\/([^/?]+))?$/.exec(
      url.pathname,
    );
    const resolve = /^\/(datasets\/)?([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(url.pathname);
    if (api !== null)
      this.#onApi(url, api[1], api[2] ?? "revision", decodeURIComponent(api[3] ?? "main"), response);
    else if (resolve !== null)
      this.#onFile(
        this.#revision(`${resolve[1] ?? "models/"}${resolve[2]}`, decodeURIComponent(resolve[3])),
        decodeURIComponent(resolve[4]),
        request,
        response,
      );
    else notFound(response);
  }

  #revision(key: string, name: string): Revision | undefined {
    return this.#repositories.get(key)?.get(name);
  }

  /** Small files are sent at once; large ones lie on the other origin, behind a signed address. */
  #onFile(
    revision: Revision | undefined,
    path: string,
    request: IncomingMessage,
    response: ServerResponse,
  ): void {
    const file = revision?.files.find((each) => each.path === path);
    if (revision === undefined || file === undefined) notFound(response);
    else if (!file.large)
      this.#sendBytes(file, request, response, {
        etag: `"${file.gitHash}"`,
        "x-repo-commit": revision.commit,
      });
    else {
      response.writeHead(302, {
        location: `${this.#cdnUrl}/${file.sha256}?signature=secret`,
        "x-repo-commit": revision.commit,
        "x-linked-size": String(file.bytes.length),
        "x-linked-etag": `"${file.sha256}"`,
      });
      response.end();
    }
  }

  #onApi(url: URL, key: string, route: string, name: string, response: ServerResponse): void {
    const revision = this.#revision(key, name === "HEAD" ? "main" : name);
    const fault = this.uploads.faultOf(`GET ${url.pathname}`);
    if (typeof fault === "object") response.writeHead(fault.status).end();
    else if (fault === "truncate") {
      response.writeHead(200, { "content-type": "application/json", "content-length": 100 });
      response.write('{"sha":', () => response.destroy());
    } else if (fault === "damage") json(response, undefined);
    else if (revision === undefined) notFound(response);
    else if (route === "revision")
      json(response, {
        _id: "0",
        id: key.split("/").slice(1).join("/"),
        sha: revision.commit,
        lastModified: "2025-01-01T00:00:00Z",
        private: revision.isPrivate ?? false,
        gated: false,
        downloads: 0,
        likes: 0,
      });
    else this.#sendListing(url, revision, response);
  }

  /** A page of the files, with a link to the next. */
  #sendListing(url: URL, revision: Revision, response: ServerResponse): void {
    const start = Number(url.searchParams.get("cursor") ?? 0);
    const page = revision.files.slice(start, start + PAGE);
    if (start + PAGE < revision.files.length) {
      url.searchParams.set("cursor", String(start + PAGE));
      response.setHeader("link", `<${url.href}>; rel="next"`);
    }
    json(
      response,
      page.map(({ path, bytes, large, gitHash, sha256 }) => ({
        type: "file",
        path,
        oid: gitHash,
        size: bytes.length,
        ...(large ? { lfs: { oid: sha256, size: bytes.length, pointerSize: 130 } } : {}),
      })),
    );
  }

  #onCdn(request: IncomingMessage, response: ServerResponse): void {
    this.#note("cdn", request);
    if (this.uploads.takes(request)) {
      void this.uploads.onCdn(request, response);
      return;
    }
    const hash = (request.url ?? "").slice(1).split("?")[0];
    const all = [...this.#repositories.values()].flatMap((revisions) => [...revisions.values()]);
    const isAsked = ({ large, sha256 }: StoredFile) => large && sha256 === hash;
    const revision = all.find(({ files }) => files.some(isAsked));
    const file = revision?.files.find(isAsked);
    if (revision === undefined || file === undefined) notFound(response);
    // both origins are this machine, so Python's client takes this one for the hub, too, and wants its headers
    else this.#sendBytes(file, request, response, { etag: `"${hash}"`, "x-repo-commit": revision.commit });
  }

  #sendBytes(
    file: StoredFile,
    request: IncomingMessage,
    response: ServerResponse,
    headers: Record<string, string>,
  ): void {
    const status = this.#failures.get(file.path)?.shift();
    if (status !== undefined) {
      response.writeHead(status);
      response.end();
      return;
    }
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    const from = first === undefined ? 0 : Number(first);
    const to = last === undefined ? file.bytes.length : Math.min(file.bytes.length, Number(last) + 1);
    const body = file.bytes.subarray(from, to);
    response.writeHead(first === undefined ? 200 : 206, {
      ...headers,
      "content-length": String(body.length),
      ...(first === undefined ? {} : { "content-range": `bytes ${from}-${to - 1}/${file.bytes.length}` }),
    });
    const limit = this.#breaks.get(file.path)?.shift();
    if (limit === undefined || limit >= body.length) response.end(body);
    else response.write(body.subarray(0, limit), () => response.destroy());
  }
}

/** A file as the hub keeps it. */
export function storedFile(path: string, bytes: Buffer, large: boolean): StoredFile {
  return {
    path,
    bytes,
    large,
    gitHash: createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex"),
    sha256: createHash("sha256").update(bytes).digest("hex"),
  };
}

function json(response: ServerResponse, value: unknown): void {
  response.setHeader("content-type", "application/json");
  response.end(value === undefined ? "<html>Sign in to this network</html>" : JSON.stringify(value));
}

function notFound(response: ServerResponse): void {
  response.writeHead(404, { "content-type": "application/json", "x-error-code": "EntryNotFound" });
  response.end(JSON.stringify({ error: "not found" }));
}
