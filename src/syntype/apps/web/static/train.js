// What a training would take is told for the collection, the size and the minutes that are chosen. Families that need no training are asked for no minutes.
import { byId, call, tell } from "./studio.js";
import { t, tn } from "./texts.js";

const form = byId("new");
const family = () => form.querySelector("[name=family]:checked");
const shares = ["test-share", "val-share"].map(byId);
let sized = history.state?.fields?.size !== undefined; // the size was chosen: another family keeps it

function fit() {
  byId("training").hidden = byId("minutes").disabled = family().dataset.learns !== "yes";
  if (!sized) byId("size").value = family().dataset.size;
}

const counts = (split) =>
  split.unused
    ? tn("{n} photograph is learnt from, {tuning} tune and {tests} test; {unused} are in no split.", "{n} photographs are learnt from, {tuning} tune and {tests} test; {unused} are in no split.", split.learnt, split)
    : tn("{n} photograph is learnt from, {tuning} tune and {tests} test.", "{n} photographs are learnt from, {tuning} tune and {tests} test.", split.learnt, split);

let asked = 0;
async function look() {
  const mine = ++asked;
  const given = { ...(sized && byId("size").value && { size: byId("size").value }), ...(byId("minutes").value && { minutes: byId("minutes").value }) };
  if (byId("other-split").open) Object.assign(given, { test_fraction: shares[0].value / 100, val_fraction: shares[1].value / 100 });
  const plan = await call("GET", `/api/collections/${byId("collection").value}/training?${new URLSearchParams(given)}`);
  if (mine !== asked) return; // asked again since
  byId("split-counts").textContent = counts(plan.split);
  byId("split-sentence").textContent = plan.split.sentence;
  byId("other-told").textContent = plan.other ? t("It would be: {split}", { split: `${counts(plan.other)} ${plan.other.sentence}` }) : "";
  for (const item of plan.families) {
    const card = form.querySelector(`[data-expected="${item.family}"]`);
    const other = form.querySelector(`[data-other="${item.family}"]`);
    for (const part of card?.querySelectorAll("[data-part]") ?? []) part.textContent = item[part.dataset.part];
    if (other) other.textContent = `${item.time}.`;
  }
  tell("");
}
const again = () => look().catch((error) => tell(error.message));

byId("families").addEventListener("change", fit);
byId("size").addEventListener("input", () => (sized = byId("size").value !== ""));
for (const id of ["collection", "size", "minutes", ...shares.map((field) => field.id)]) byId(id).addEventListener("change", again);
byId("other-split").addEventListener("toggle", again);
byId("resplit").addEventListener("click", async () => {
  const chosen = byId("collection");
  const title = chosen.selectedOptions[0].textContent.replace(/ \([^(]*\)$/, "");
  const request = { kind: "resplit", name: `${title} ${shares[0].value}-${shares[1].value}`.slice(0, 100), collection: chosen.value };
  try {
    const job = await call("POST", "/api/jobs", { ...request, test_fraction: shares[0].value / 100, val_fraction: shares[1].value / 100 });
    location.assign(`/jobs/${job.id}`);
  } catch (error) {
    tell(error.message);
  }
});
fit();
again();
