/** Types of check-imports.mjs, for the tests. */
export function readImports(
  text: string,
): { specifier: string | undefined; typeOnly: boolean; line: number }[];

export function checkImports(folder: string): { problems: string[]; files: number; imports: number };
export function checkPage(
  folder: string,
  src: string,
): { problems: string[]; files: number; imports: number };
