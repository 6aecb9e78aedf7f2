/** A Neuronpedia on this machine, as far as uploads need it: stores features by model and source, and fails when it is told to. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type UploadBatch, uploadBatch } from "../../src/dashboard/neuronpedia/schemas.ts";

/** What goes wrong with a POST: a status, the connection lost before it is read, or after it was stored. */
export type Fault = number | "lost before" | "lost after";

export class NeuronpediaServer {
  /** stored features by `model/source/index`, each with how often it was stored */
  readonly stored = new Map<string, { feature: UploadBatch["features"][number]; times: number }>();
  /** every request: method, path, key, and whether the key came */
  readonly requests: { readonly method: string; readonly path: string; readonly key: string | undefined }[] =
    [];
  /** of the next POSTs, in order */
  readonly faults: Fault[] = [];
  readonly #server: Server;
  readonly #key: string;

  private constructor(key: string) {
    this.#key = key;
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        response.writeHead(400, { "content-type": "application/json" });
        response.end(JSON.stringify({ error: String(error) }));
      });
    });
  }

  static async start(key: string): Promise<NeuronpediaServer> {
    const server = new NeuronpediaServer(key);
    await new Promise<void>((resolve) => server.#server.listen(0, "127.0.0.1", resolve));
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? "";
    const key = request.headers["x-api-key"] as string | undefined;
    this.requests.push({ method: request.method ?? "", path, key });
    const send = (status: number, body: object, headers: Record<string, string> = {}) => {
      response.writeHead(status, { "content-type": "application/json", ...headers });
      response.end(JSON.stringify(body));
    };
    if (request.method === "GET") {
      const found = this.stored.get(path.replace("/api/feature/", ""));
      return found === undefined ? send(404, { error: "not available" }) : send(200, found.feature);
    }
    const fault = this.faults.shift();
    if (fault === "lost before") {
      request.socket.destroy();
      return;
    }
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (key !== this.#key) return send(401, { error: `the key ${key} is not known` });
    if (typeof fault === "number")
      return send(fault, { error: "as told" }, fault === 429 ? { "retry-after": "0" } : {});
    const batch = uploadBatch.parse(JSON.parse(Buffer.concat(chunks).toString("utf8")));
    for (const feature of batch.features) {
      const name = `${batch.modelId}/${batch.source}/${feature.index}`;
      this.stored.set(name, { feature, times: (this.stored.get(name)?.times ?? 0) + 1 });
    }
    if (fault === "lost after") {
      request.socket.destroy();
      return;
    }
    send(200, { message: `${batch.features.length} features created.` });
  }
}
