/** Things that are fetched once and then kept: a promise by key, forgotten when it fails, so that one may try again. */

export class Once<T> {
  readonly #kept = new Map<string, Promise<T>>();
  readonly #make: (key: string) => Promise<T>;

  constructor(make: (key: string) => Promise<T>) {
    this.#make = make;
  }

  get(key: string): Promise<T> {
    const kept = this.#kept.get(key) ?? this.#make(key);
    this.#kept.set(key, kept);
    kept.catch(() => this.#kept.delete(key));
    return kept;
  }
}
