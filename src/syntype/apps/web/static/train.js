// Families that need no training are asked for no minutes. Those that learn have sizes of their own.
import { byId } from "/static/studio.js";

const family = byId("family");
const minutes = byId("minutes");
function fit() {
  const learns = family.selectedOptions[0].dataset.learns === "yes";
  byId("training").hidden = minutes.disabled = !learns;
  byId("size").value = learns ? "" : 128;
}
family.addEventListener("change", fit);
fit();
