/** Where the page is, and going elsewhere. */
import { useEffect, useState } from "preact/hooks";
import { parseRoute, type Route } from "./routes.ts";

const CHANGED = "lapidary-moved";

/** The present route, followed. */
export function useRoute(): Route | null {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const follow = () => setHash(location.hash);
    addEventListener("hashchange", follow);
    addEventListener("popstate", follow);
    addEventListener(CHANGED, follow);
    return () => {
      removeEventListener("hashchange", follow);
      removeEventListener("popstate", follow);
      removeEventListener(CHANGED, follow);
    };
  }, []);
  return parseRoute(hash);
}

/** Goes to an address as a link does. */
export function go(address: string): void {
  location.hash = address;
}

/** Changes the address without a new entry in the history: for what is typed, dragged or chosen. */
export function replace(address: string): void {
  if (address === location.hash) return;
  history.replaceState(null, "", address);
  dispatchEvent(new Event(CHANGED));
}
