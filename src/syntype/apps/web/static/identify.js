// What is this? Photographs go to the identifier one after the other; each answer is shown above the earlier ones. Nothing is kept.
import { dropped } from "./files.js";
import { speciesName, withNames } from "./species.js";
import { byId, call, make, tell, thumbnail } from "./studio.js";
import { t, tn } from "./texts.js";

const drop = byId("drop");
const field = byId("files");
const { identifier } = field.dataset;
const list = byId("answers");
const MOST = 50; // answers that stay on the page

const percent = (share) => (share < 0.01 ? t("less than 1 %") : share > 0.99 ? t("more than 99 %") : t("{percent} %", { percent: Math.round(100 * share) }));

function bars(answer) {
  return answer.species.map(({ species, common_name, probability }) => {
    const meter = make("meter", { min: 0, max: 1, value: probability, ariaLabel: `${species}: ${percent(probability)}` });
    return make("li", {}, speciesName(species, common_name), make("span", { className: "share", textContent: percent(probability) }), meter);
  });
}

function similar(answer) {
  if (!answer.nearest.length) return [];
  const pictures = answer.nearest.map((image) => {
    const words = t("{species}, photograph {name}", { species: image.species ?? t("no species"), name: image.image_id });
    const small = image.width && image.width < 128 && image.height < 128;
    const picture = make("img", { className: small ? "pixels" : "", src: thumbnail(answer.collection, image, 160), alt: words, width: 96, height: 96, loading: "lazy" });
    const link = make("a", { href: `/collections/${answer.collection}/images/${encodeURIComponent(image.image_id)}` }, picture);
    return make("li", {}, link, make("p", {}, speciesName(image.species)));
  });
  return [make("h3", { textContent: t("The most similar photographs that it has learnt from") }), make("ul", { className: "grid similar" }, ...pictures)];
}

function show(item, answer) {
  const names = [answer.name, ...answer.species.map((one) => one.species)];
  const said = make("p", { className: "verdict" }, ...withNames(answer.sentence.replaceAll(" %", "\u00a0%"), names));
  const species = make("ul", { className: "bars", ariaLabel: t("Most probable species") }, ...bars(answer));
  const doubt = answer.none_of_these ? [make("p", { className: "badge warn", textContent: t("perhaps none of these") })] : [];
  item.lastChild.replaceChildren(said, ...doubt, species, ...similar(answer));
}

// A place for the answer, with the photograph as the browser has it.
function begin(file) {
  const picture = make("img", { src: URL.createObjectURL(file), alt: file.name });
  picture.addEventListener("error", () => picture.remove()); // a format that browsers do not show
  const figure = make("figure", {}, picture, make("figcaption", { textContent: file.name }));
  const item = make("li", {}, figure, make("div", {}, make("p", { textContent: t("Looking…") })));
  list.prepend(item);
  while (list.childElementCount > MOST) {
    const old = list.lastChild.querySelector("img");
    if (old) URL.revokeObjectURL(old.src);
    list.lastChild.remove();
  }
  return item;
}

let waiting = Promise.resolve();
async function ask(files) {
  tell("");
  const items = [...files].reverse().map((file) => [file, begin(file)]).reverse(); // the first stands first
  let done = 0;
  for (const [file, item] of items) {
    byId("asked").textContent = items.length > 1 ? t("Looking at photograph {number} of {total}…", { number: done + 1, total: items.length }) : t("Looking…");
    try {
      show(item, await call("POST", `/api/identifiers/${identifier}/identify`, file));
    } catch (error) {
      item.lastChild.replaceChildren(make("p", { className: "wrong", textContent: `${file.name}: ${error.message}` }));
    }
    done += 1;
  }
  byId("asked").textContent = tn("{n} photograph answered.", "{n} photographs answered.", done);
}
const queue = (files) => files.length && (waiting = waiting.then(() => ask(files)));

for (const kind of ["dragover", "dragleave", "drop"]) {
  drop.addEventListener(kind, async (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop") queue((await dropped(event.dataTransfer)).items.map((item) => item.file));
  });
}
for (const kind of ["dragover", "drop"]) {
  addEventListener(kind, (event) => event.dataTransfer.types.includes("Files") && event.preventDefault()); // beside the target: the browser would leave the page
}
field.addEventListener("change", () => {
  queue([...field.files]);
  field.value = ""; // the same photograph can be asked again
});
if (field.files.length) queue([...field.files]); // chosen before this script ran
