import { byId } from "/static/studio.js";

// A filter takes effect when it is chosen; without this script the button does the same.
const filters = byId("filters");
if (filters) {
  filters.addEventListener("change", () => filters.requestSubmit());
  filters.querySelector("button").hidden = true;
}
