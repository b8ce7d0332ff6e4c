// Beside a form: pictures of what is chosen in it, so that nobody starts a job with the wrong thing.
import { byId, call, make, thumbnail } from "./studio.js";
import { t } from "./texts.js";

const place = byId("preview");
const KINDS = { generator: "generators", collection: "collections", synthetic: "collections", real: "collections" };
const fields = Object.keys(KINDS).map(byId).filter((field) => field?.tagName === "SELECT");

async function pictures(field) {
  if (!field.value) return null;
  const thing = await call("GET", `/api/${KINDS[field.id]}/${encodeURIComponent(field.value)}`);
  const caption = make("figcaption", { textContent: `${field.labels[0].textContent}: ${thing.title}` });
  if (KINDS[field.id] === "generators") {
    if (!thing.preview) return null;
    return make("figure", {}, make("img", { src: `/api/generators/${thing.name}/preview`, alt: t("Images of {title}", { title: thing.title }) }), caption);
  }
  const images = thing.cover.map((image) => make("img", { src: thumbnail(thing.name, image, 160), alt: "", width: 80, height: 80 }));
  return make("figure", {}, make("div", { className: "small" }, ...images), caption);
}

let asked = 0;
async function show() {
  const mine = ++asked;
  const found = await Promise.all(fields.filter((field) => !field.disabled).map((field) => pictures(field).catch(() => null)));
  if (mine === asked) place.replaceChildren(...found.filter(Boolean)); // unless another thing was chosen meanwhile
}
for (const field of fields) field.addEventListener("change", show);
show();
