// The field for photographs follows the choice of what was made of them, until somebody chooses photographs.
import { byId } from "./studio.js";

const photographs = byId("real") ?? byId("collection");
let own = false;
photographs?.addEventListener("change", (event) => (own ||= event.isTrusted));
for (const id of ["generator", "synthetic"]) {
  byId(id)?.addEventListener("change", () => {
    const of = byId(id).selectedOptions[0]?.dataset.of;
    if (!of || own || !photographs || photographs.value === of || ![...photographs.options].some((option) => option.value === of)) return;
    photographs.value = of;
    photographs.dispatchEvent(new Event("change"));
  });
}
