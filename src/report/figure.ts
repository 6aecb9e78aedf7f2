/** The parts that every section is put together from: sections, figures with their numbers behind them, tables. */
import { type Content, html, type Markup } from "./html.ts";

/** Rows of cells under headings; the first cell of a row is its heading. */
export interface Table {
  /** what the table is, for who cannot see it */
  readonly caption: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Content[])[];
  /** columns of text, by index; the others are numbers and stand at the right. The first is always text */
  readonly texts?: readonly number[];
}

export interface Figure {
  readonly title: Content;
  /** where a reader who has chosen another layer does not see it */
  readonly layer?: number;
  /** one chart or several side by side */
  readonly charts: Content;
  readonly caption?: Content;
  /** the numbers behind the charts */
  readonly table: Table;
}

/** A table in a box that scrolls by itself, so that the page never has to. */
export function table({ caption, columns, rows, texts = [] }: Table): Markup {
  const isText = (i: number) => i === 0 || texts.includes(i);
  const cell = (content: Content, i: number) =>
    i === 0
      ? html`<th scope="row">${content}</th>`
      : isText(i)
        ? html`<td class="text">${content}</td>`
        : html`<td>${content}</td>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${caption}"><table><caption class="unseen">${caption}</caption><thead><tr>${columns.map(
    (name, i) =>
      isText(i) ? html`<th scope="col" class="text">${name}</th>` : html`<th scope="col">${name}</th>`,
  )}</tr></thead><tbody>${rows.map(
    (cells) => html`<tr>${cells.map(cell)}</tr>
`,
  )}</tbody></table></div>`;
}

export function figure({ title, layer, charts, caption, table: numbers }: Figure): Markup {
  const of = layer === undefined ? null : html` data-layer="${layer}"`;
  return html`<figure${of}><figcaption><strong class="title">${title}</strong>${caption === undefined ? null : html` <span class="caption">${caption}</span>`}</figcaption><div class="charts">${charts}</div><details class="numbers"><summary>The numbers</summary>${table(numbers)}</details></figure>
`;
}

/** Figures side by side, as many as fit. */
export function grid(figures: readonly Content[]): Markup {
  return html`<div class="grid">${figures}</div>
`;
}

/** A part of the page that the contents list names. */
export interface Section {
  readonly id: string;
  readonly title: string;
  /** null: this run has no data for it, which the page says in one place */
  readonly body: Content;
}

export function section({ id, title, body }: Section): Markup {
  return html`<section id="${id}" aria-labelledby="${id}-title"><h2 id="${id}-title">${title}</h2>
${body}</section>
`;
}

/** What belongs to one layer; the reader can choose among layers. */
export function ofLayer(layer: number, body: Content): Markup {
  return html`<div class="layer" data-layer="${layer}"><h3>Layer ${layer}</h3>
${body}</div>
`;
}

/** Says that a run has no data for a part. */
export function absent(what: string): Markup {
  return html`<p class="absent">${what}</p>
`;
}

export function paragraph(content: Content): Markup {
  return html`<p>${content}</p>
`;
}
