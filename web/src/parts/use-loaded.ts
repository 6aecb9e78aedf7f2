/** Waiting for data in a view. */
import { useEffect, useState } from "preact/hooks";

export type Loaded<T> =
  | { readonly state: "waiting" }
  | { readonly state: "here"; readonly value: T }
  | { readonly state: "failed"; readonly error: Error };

/** What `load` resolves to; asked anew when `key` changes, answers to older questions dropped. */
export function useLoaded<T>(load: () => Promise<T>, key: string): Loaded<T> {
  const [loaded, setLoaded] = useState<{ key: string; result: Loaded<T> }>({
    key,
    result: { state: "waiting" },
  });
  // `key` says when `load` asks for something else
  useEffect(() => {
    let isWanted = true;
    load().then(
      (value) => isWanted && setLoaded({ key, result: { state: "here", value } }),
      (error: Error) => isWanted && setLoaded({ key, result: { state: "failed", error } }),
    );
    return () => {
      isWanted = false;
    };
  }, [key]);
  return loaded.key === key ? loaded.result : { state: "waiting" };
}
