/**
 * A table of any number of rows, of which only those in sight are in the page. A grid with one stop for the Tab key: the
 * arrow keys, Page Up and Down, Home and End move the active row, Enter opens it. Headings are buttons that sort.
 */
import type { ComponentChildren } from "preact";
import { useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { go } from "../navigation.ts";

export interface GridColumn<Key extends string> {
  readonly key: Key;
  readonly title: string;
  /** what the number means; the heading's tip */
  readonly meaning?: string;
  readonly isSortable: boolean;
  /** classes of its cells: text, wide; minor and some are left out where there is little room, minor first */
  readonly kind: string;
}

export interface VirtualGridProps<Key extends string> {
  readonly label: string;
  readonly columns: readonly GridColumn<Key>[];
  readonly nRows: number;
  /** identity of what is shown: when it changes, the list begins anew at its top */
  readonly version: unknown;
  readonly cell: (row: number, column: Key) => ComponentChildren;
  readonly address: (row: number) => string;
  readonly sort: Key;
  readonly direction: "up" | "down";
  readonly onSort: (key: Key) => void;
}

const ROW_HEIGHT = 30;
/** Rows drawn beyond what is in sight. */
const BEYOND = 8;

export function VirtualGrid<Key extends string>(props: VirtualGridProps<Key>) {
  const { label, columns, nRows, version, cell, address, sort, direction, onSort } = props;
  const id = useId();
  const scroller = useRef<HTMLDivElement>(null);
  const [first, setFirst] = useState(0);
  const [nInSight, setInSight] = useState(24);
  const [active, setActive] = useState(0);

  useLayoutEffect(() => {
    if (scroller.current !== null) scroller.current.scrollTop = 0;
    setActive(0);
    setFirst(0);
  }, [version]);
  useEffect(() => {
    const element = scroller.current as HTMLDivElement;
    const measure = () => setInSight(Math.ceil(element.clientHeight / ROW_HEIGHT));
    const watch = new ResizeObserver(measure);
    watch.observe(element);
    return () => watch.disconnect();
  }, []);

  const from = Math.max(0, Math.min(first, nRows) - BEYOND);
  const to = Math.min(nRows, first + nInSight + BEYOND);
  const isDrawn = active >= from && active < to;

  const move = (row: number) => {
    const next = Math.max(0, Math.min(nRows - 1, row));
    setActive(next);
    const element = scroller.current as HTMLDivElement;
    const head = element.querySelector("thead")?.clientHeight ?? 0;
    const [top, bottom] = [next * ROW_HEIGHT, (next + 1) * ROW_HEIGHT];
    if (top < element.scrollTop) element.scrollTop = top;
    else if (bottom > element.scrollTop + element.clientHeight - head)
      element.scrollTop = bottom - element.clientHeight + head;
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.target !== event.currentTarget || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, nInSight - 2);
    const to = {
      ArrowDown: active + 1,
      ArrowUp: active - 1,
      PageDown: active + page,
      PageUp: active - page,
      Home: 0,
      End: nRows - 1,
    }[event.key];
    if (to !== undefined) move(to);
    else if (event.key === "Enter" && nRows > 0) go(address(active));
    else return;
    event.preventDefault();
  };

  return (
    <div
      class="grid-scroller"
      ref={scroller}
      onScroll={(event) => setFirst(Math.floor(event.currentTarget.scrollTop / ROW_HEIGHT))}
    >
      <table
        role="grid"
        aria-label={label}
        aria-rowcount={nRows + 1}
        aria-colcount={columns.length}
        aria-activedescendant={isDrawn ? `${id}-${active}` : undefined}
        tabIndex={0}
        onKeyDown={onKeyDown}
      >
        <thead>
          <tr aria-rowindex={1}>
            {columns.map((column) => (
              <th
                key={column.key}
                class={column.kind}
                scope="col"
                aria-sort={sort !== column.key ? undefined : direction === "up" ? "ascending" : "descending"}
              >
                {column.isSortable ? (
                  <button
                    type="button"
                    class="sorter"
                    data-tip={column.meaning}
                    onClick={() => onSort(column.key)}
                  >
                    {column.title}
                    <span class="arrow" aria-hidden="true">
                      {sort !== column.key ? "" : direction === "up" ? "▲" : "▼"}
                    </span>
                  </button>
                ) : (
                  <span data-tip={column.meaning}>{column.title}</span>
                )}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          <Spacer rows={from} />
          {Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i).map((row) => (
            <tr
              key={row}
              id={`${id}-${row}`}
              aria-rowindex={row + 2}
              class={row === active ? "active" : undefined}
              onClick={(event) => {
                setActive(row);
                if (!(event.target as Element).closest("a") && getSelection()?.isCollapsed !== false)
                  go(address(row));
              }}
            >
              {columns.map((column) => (
                <td key={column.key} class={column.kind}>
                  {cell(row, column.key)}
                </td>
              ))}
            </tr>
          ))}
          <Spacer rows={nRows - Math.max(from, to)} />
        </tbody>
      </table>
    </div>
  );
}

/** Room for rows that are not drawn. One cell: how many columns are shown depends on the width. */
function Spacer({ rows }: { rows: number }) {
  if (rows <= 0) return null;
  return (
    <tr class="spacer" aria-hidden="true">
      <td style={{ height: `${rows * ROW_HEIGHT}px` }} />
    </tr>
  );
}
