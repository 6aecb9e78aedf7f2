/**
 * Where the hub is, where its files are cached, and who is asking: read from the environment, as Hugging Face's own
 * tools do. The token is kept behind a function so that no object that might be printed holds it.
 */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** Where the hub is, where its files are kept, and how it is spoken to. */
export interface HubSettings {
  /** origin of the hub, without a final slash */
  readonly endpoint: string;
  /** folder of cached files */
  readonly cacheDir: string;
  /** true: only what is cached may be used */
  readonly offline: boolean;
  /** tries of one request before giving up, when the network or the server fails */
  readonly attempts: number;
  /** milliseconds before the second try; doubled each time */
  readonly retryDelayMs: number;
  /** milliseconds without a byte after which a connection counts as broken */
  readonly stallMs: number;
  /** The access token, if there is one. Sent to `endpoint` and nowhere else. */
  readonly token: () => string | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Settings from the environment: `HF_ENDPOINT`, `LAPIDARY_CACHE` (else `HF_HOME/lapidary`, else the user's cache
 * folder), `HF_HUB_OFFLINE`, `HF_TOKEN` or the hub's token file. `overrides` win.
 */
export function hubSettings(
  overrides: Partial<HubSettings> = {},
  environment: Environment = process.env,
): HubSettings {
  const env = (name: string) => environment[name] || undefined;
  return {
    endpoint: (env("HF_ENDPOINT") ?? "https://huggingface.co").replace(/\/+$/, ""),
    cacheDir: cacheFolder(env),
    offline: ["1", "ON", "YES", "TRUE"].includes((env("HF_HUB_OFFLINE") ?? "").toUpperCase()),
    attempts: 5,
    retryDelayMs: 500,
    stallMs: 60_000,
    token: () => env("HF_TOKEN") ?? env("HUGGING_FACE_HUB_TOKEN") ?? tokenFromFile(env),
    ...overrides,
  };
}

function cacheFolder(env: (name: string) => string | undefined): string {
  const own = env("LAPIDARY_CACHE");
  if (own !== undefined) return own;
  const hubHome = env("HF_HOME");
  if (hubHome !== undefined) return join(hubHome, "lapidary");
  if (process.platform === "win32")
    return join(env("LOCALAPPDATA") ?? join(homedir(), "AppData", "Local"), "lapidary", "cache");
  return join(env("XDG_CACHE_HOME") ?? join(homedir(), ".cache"), "lapidary");
}

function tokenFromFile(env: (name: string) => string | undefined): string | undefined {
  const home = env("HF_HOME") ?? join(env("XDG_CACHE_HOME") ?? join(homedir(), ".cache"), "huggingface");
  try {
    return readFileSync(env("HF_TOKEN_PATH") ?? join(home, "token"), "utf8").trim() || undefined;
  } catch {
    return undefined;
  }
}
