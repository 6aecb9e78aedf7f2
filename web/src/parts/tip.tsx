/**
 * The one tooltip: says what stands in `data-tip` of the element under the pointer or in focus. For eyes only: whatever
 * has a tip says the same to assistive technology in its own name or text.
 */
import { useEffect, useRef } from "preact/hooks";

/** Room between the tip and what it is about, pixels. */
const GAP = 6;

export function Tip() {
  const tip = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = tip.current as HTMLDivElement;
    const follow = (event: Event) => {
      const about = event.target instanceof Element ? event.target.closest("[data-tip]") : null;
      const text = about?.getAttribute("data-tip") ?? "";
      if (about === null || text === "") return hide();
      showTip(element, text, about.getBoundingClientRect());
    };
    const hide = () => {
      element.hidden = true;
    };
    const onKeyDown = (event: KeyboardEvent) => event.key === "Escape" && hide();
    document.addEventListener("pointerover", follow);
    document.addEventListener("focusin", follow);
    document.addEventListener("focusout", hide);
    document.addEventListener("keydown", onKeyDown);
    addEventListener("scroll", hide, true);
    addEventListener("hashchange", hide);
    return () => {
      document.removeEventListener("pointerover", follow);
      document.removeEventListener("focusin", follow);
      document.removeEventListener("focusout", hide);
      document.removeEventListener("keydown", onKeyDown);
      removeEventListener("scroll", hide, true);
      removeEventListener("hashchange", hide);
    };
  }, []);
  return <div id="tip" class="tip" ref={tip} hidden aria-hidden="true" />;
}

/** Shows `text` above `about`, or below where there is no room, inside the window. */
export function showTip(
  element: HTMLElement,
  text: string,
  about: { left: number; right: number; top: number; bottom: number },
): void {
  element.textContent = text;
  element.hidden = false;
  const { width, height } = element.getBoundingClientRect();
  const middle = (about.left + about.right) / 2 - width / 2;
  const above = about.top - height - GAP;
  element.style.left = `${Math.max(4, Math.min(innerWidth - width - 4, middle))}px`;
  element.style.top = `${above > 4 ? above : about.bottom + GAP}px`;
}

/** The same for charts that know what lies under the pointer; null hides it. */
export function showTipAt(text: string | null, at: { clientX: number; clientY: number }): void {
  const element = document.getElementById("tip");
  if (element === null) return;
  if (text === null) element.hidden = true;
  else
    showTip(element, text, {
      left: at.clientX,
      right: at.clientX,
      top: at.clientY - 4,
      bottom: at.clientY + 12,
    });
}
