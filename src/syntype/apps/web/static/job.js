// Progress of a job. The page keeps no state: after a lost connection or a restarted server it asks again.
import { showBetween } from "./between.js";
import { ACTIVE, act, fill, words } from "./jobs.js";
import { showParents } from "./parents.js";
import { patch } from "./patch.js";
import { byId, call, make, tell } from "./studio.js";
import { t } from "./texts.js";

const { number, kind, name } = byId("job").dataset;
const RESUMABLE = ["train", "adapt", "generate", "blend", "vary", "inpaint", "study"];
const OVERVIEWS = { "strip.png": t("As a picture"), "strip.gif": t("As an animation"), "strip.webp": t("As a smaller animation"), "board.png": t("Every species with every other"), "sheet.png": t("Photographs and images made from them"), "process.png": t("The course of the training") };
const address = (picture) => `/api/jobs/${number}/pictures/${encodeURIComponent(picture)}`;
let shown = "";
let latest = null;

function figure(picture, caption) {
  const link = make("a", { href: address(picture), download: `${name}-${picture}`, textContent: t("Download {file}", { file: picture }) });
  return make("figure", {}, make("img", { src: address(picture), alt: caption }), make("figcaption", {}, caption, ". ", link));
}

// The latest preview of a training, with the species beside its rows.
async function labelled(picture) {
  const step = Number(picture.match(/\d+/)[0]);
  const made = figure(picture, step ? t("Images at step {step}: one row per species", { step }) : t("Images that it makes: one row per species")); // what does not learn takes no steps
  const rows = await call("GET", `${address(picture)}/species`).catch(() => []);
  if (!rows.length) return made;
  const list = make("ol", { className: "row-names" }, ...rows.map((row) => make("li", {}, make("i", { textContent: row }))));
  list.setAttribute("aria-label", t("Species of the rows"));
  made.prepend(make("div", { className: "labelled" }, list, made.querySelector("img")));
  return made;
}

async function overviews(names) {
  const previews = names.filter((picture) => /^(step|final)-\d+\.png$/.test(picture));
  const preview = await Promise.all(previews.slice(0, 1).map(labelled));
  const losses = names.filter((picture) => picture === "losses.png").map((picture) => make("details", {}, make("summary", { textContent: t("Losses") }), figure(picture, t("Losses over the training steps"))));
  return [...preview, ...names.filter((picture) => picture in OVERVIEWS).map((picture) => figure(picture, OVERVIEWS[picture])), ...losses];
}

function drawn(picture) {
  const [, folder, file] = picture.split("--");
  const item = make("li", {}, make("img", { src: address(picture), alt: `${folder.replaceAll("_", " ")}, ${file}`, width: 160, height: 160 }));
  item.dataset.key = picture;
  return item;
}

async function look() {
  const names = await call("GET", `/api/jobs/${number}/pictures`);
  if (names.join() === shown) return;
  shown = names.join();
  byId("seen").hidden = !names.length;
  patch(byId("overviews"), await overviews(names));
  patch(byId("pictures"), names.filter((picture) => picture.startsWith("images--")).map(drawn));
}

async function refresh() {
  let wait = 1000;
  try {
    latest = await call("GET", `/api/jobs/${number}`);
    const active = ACTIVE.includes(latest.status);
    byId("status").textContent = words(latest);
    byId("bar").hidden = latest.status !== "running";
    fill(byId("bar"), latest);
    byId("outcome").textContent = latest.outcome ?? "";
    byId("outcome").hidden = !latest.outcome;
    byId("message").textContent = latest.message ?? "";
    byId("message").hidden = !latest.message;
    byId("cancel").hidden = !active;
    byId("resume").hidden = !(RESUMABLE.includes(kind) && ["cancelled", "failed"].includes(latest.status));
    byId("nothing").hidden = !active || !byId("seen").hidden;
    byId("onwards").hidden = latest.status !== "finished";
    if (latest.status !== "waiting") await look();
    if (latest.status === "finished" && ["vary", "inpaint"].includes(kind)) byId("pictures").hidden = await showParents(byId("parents"), latest.name);
    if (latest.status === "finished" && kind === "blend") await showBetween(byId("between"), latest);
    tell("");
    if (!active) return;
  } catch (error) {
    tell(t("{error} Trying again.", { error: error.message }));
    wait = 3000;
  }
  setTimeout(refresh, wait);
}

byId("cancel").addEventListener("click", () => act(latest, "cancel"));
byId("resume").addEventListener("click", () => act(latest, "resume").then(refresh));
byId("said").addEventListener("toggle", async () => {
  if (byId("said").open) byId("log").textContent = (await call("GET", `/api/jobs/${number}/log`)) || t("nothing yet");
});
refresh();
