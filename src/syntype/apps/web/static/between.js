// A strip of hybrids as a slider: from one species, or one individual, to the next.
import { call, make, thumbnail } from "./studio.js";
import { t } from "./texts.js";

export async function showBetween(place, job) {
  if (job.request.layout !== "strip" || place.childElementCount) return;
  const { total, images } = await call("GET", `/api/collections/${job.name}/images?limit=500`);
  const strip = images.slice(0, total / job.request.num); // the first
  const pictures = strip.map((image) => Object.assign(new Image(), { src: thumbnail(job.name, image, "1024"), alt: image.species ?? "" }));
  for (const picture of pictures) picture.addEventListener("load", () => picture.classList.toggle("pixels", picture.naturalWidth <= 128));
  const [first, last] = [job.request.species[0], job.request.species.at(-1)];
  const slider = make("input", { type: "range", id: "where", min: 0, max: strip.length - 1, step: 1, value: Math.floor(strip.length / 2) });
  const caption = make("figcaption", { ariaLive: "polite" });
  const figure = make("figure", {}, pictures[0], caption);
  const show = () => {
    const at = Number(slider.value);
    figure.replaceChildren(pictures[at], caption);
    caption.textContent = t("{species}, {share} % of the way", { species: strip[at].species, share: Math.round((100 * at) / (strip.length - 1)) });
  };
  slider.addEventListener("input", show);
  const ends = make("p", { className: "hint ends" }, make("span", { textContent: first }), make("span", { textContent: first === last ? t("another individual") : last }));
  const query = new URLSearchParams({ generator: job.request.generator, first, second: last });
  const live = make("p", {}, make("a", { href: `/hybrids?${query}`, textContent: t("Look at these species live, with other individuals") }));
  place.append(make("label", { htmlFor: "where", textContent: t("Position between the two") }), slider, ends, figure, live);
  place.hidden = false;
  show();
}
