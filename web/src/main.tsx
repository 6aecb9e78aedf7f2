/** Starts the page. */
import { render } from "preact";
import { App } from "./app.tsx";
import { applyTheme, readTheme } from "./parts/use-colours.ts";

applyTheme(readTheme());
const page = document.getElementById("page") as HTMLElement;
page.replaceChildren();
render(<App />, page);
