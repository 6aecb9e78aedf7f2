/** Which segment of a text each of its tokens belongs to: the one that holds most of the token's bytes. */
import type { Segment } from "./chat.ts";
import type { Tokenizer } from "./tokenizer.ts";

const utf8 = new TextEncoder();

/**
 * The role of each token of `ids` = encode(the segments' texts joined). A token that straddles a border takes the role
 * of the larger part; ties go to the earlier one.
 *
 * The tokens' bytes are laid along the text's. Where a normaliser changes the text they do not fit, and borders are
 * found by encoding the text up to each border instead, which is exact to one token.
 */
export function tokenRoles(
  tokenizer: Tokenizer,
  segments: readonly Segment[],
  ids: readonly number[],
): Uint8Array {
  return rolesByBytes(tokenizer, segments, ids) ?? rolesByPrefix(tokenizer, segments, ids);
}

function rolesByBytes(
  tokenizer: Tokenizer,
  segments: readonly Segment[],
  ids: readonly number[],
): Uint8Array | null {
  const text = utf8.encode(segments.map((segment) => segment.text).join(""));
  const ends: number[] = [];
  let total = 0;
  for (const segment of segments) {
    total += Buffer.byteLength(segment.text);
    ends.push(total);
  }
  if (total !== text.length) return null; // a border splits a surrogate pair
  const roles = new Uint8Array(ids.length);
  let segment = 0;
  let begin = 0;
  for (const [i, id] of ids.entries()) {
    const bytes = tokenizer.bytesOf(id);
    if (bytes === null || begin + bytes.length > text.length) return null;
    for (let b = 0; b < bytes.length; b++) if (bytes[b] !== text[begin + b]) return null;
    const end = begin + bytes.length;
    while (segment < ends.length - 1 && ends[segment] <= begin) segment++;
    roles[i] = segments[largestOverlap(ends, segment, begin, end)].role;
    begin = end;
  }
  return begin === text.length ? roles : null;
}

/** The segment, from `first` on, that shares most with [begin, end). */
function largestOverlap(ends: readonly number[], first: number, begin: number, end: number): number {
  let best = first;
  let most = 0;
  for (let s = first; s < ends.length; s++) {
    const from = Math.max(begin, s === 0 ? 0 : ends[s - 1]);
    if (from >= end) break;
    const shared = Math.min(end, ends[s]) - from;
    if (shared > most) [best, most] = [s, shared];
  }
  return best;
}

function rolesByPrefix(
  tokenizer: Tokenizer,
  segments: readonly Segment[],
  ids: readonly number[],
): Uint8Array {
  const roles = new Uint8Array(ids.length);
  let text = "";
  let from = 0;
  for (const [s, segment] of segments.entries()) {
    text += segment.text;
    const prefix = s === segments.length - 1 ? ids : tokenizer.encode(text);
    let to = from;
    while (to < ids.length && to < prefix.length && ids[to] === prefix[to]) to++;
    roles.fill(segment.role, from, to);
    from = to;
  }
  return roles;
}
