/** A heading whose level is given by where it stands. */
import type { ComponentChildren } from "preact";

export type Level = 2 | 3 | 4;

export function Heading({ level, children, id }: { level: Level; children: ComponentChildren; id?: string }) {
  const Tag = `h${level}` as const;
  return <Tag id={id}>{children}</Tag>;
}
