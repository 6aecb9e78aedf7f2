/**
 * The page's only script: buttons that show one layer at a time. They are made here, so that a page without scripts has
 * no dead control, and everything is shown until one is pressed.
 */
export const SCRIPT = `
const nav = document.querySelector("nav");
const parts = [...document.querySelectorAll("[data-layer]")];
const layers = [...new Set(parts.map((part) => part.dataset.layer))].sort((a, b) => a - b);
if (nav && layers.length > 1) {
  const group = document.createElement("div");
  group.className = "filter";
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "Layers shown");
  const buttons = ["all", ...layers].map((layer) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = layer === "all" ? "All layers" : "Layer " + layer;
    button.addEventListener("click", () => show(layer));
    group.append(button);
    return { layer, button };
  });
  const show = (layer) => {
    for (const part of parts) part.hidden = layer !== "all" && part.dataset.layer !== layer;
    for (const one of buttons) one.button.setAttribute("aria-pressed", String(one.layer === layer));
  };
  show("all");
  nav.append(group);
}
`;
