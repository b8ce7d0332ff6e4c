import { byId } from "/static/studio.js";

// A filter takes effect when it is chosen; without this script the button does the same.
const filters = byId("filters");
if (filters) {
  filters.addEventListener("change", () => filters.requestSubmit());
  filters.querySelector("button").hidden = true;
}

// The picture of the long tail is drawn when somebody wants to see it.
byId("tail").addEventListener("toggle", () => (byId("long-tail").src = byId("long-tail").dataset.src), { once: true });
