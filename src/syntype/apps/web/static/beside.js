// Photographs to compare with, beside a picture and as large as it: one at a time, and small ones to choose from.
import { speciesName } from "./species.js";
import { make, thumbnail } from "./studio.js";
import { decimal, t, tparts } from "./texts.js";

const LARGE = 1024;

const picture = (near, side) => Object.assign(new Image(), { alt: t("Photograph of {species}", { species: near.species ?? t("no species") }), src: thumbnail(near.collection, near, side) });

// What is fetched before the photographs are shown: the first one large and decoded, all of them small.
export function fetchBeside(nearest) {
  const large = nearest.slice(0, 1).map((near) => picture(near, LARGE));
  large[0]?.decode().catch(() => {}); // one that is missing shows its words
  return { large, small: nearest.map((near) => picture(near, 160)) };
}

// Shows photographs in a pane, a line that tells which it is, and a list. Returns what shows others, and the next of them.
export function besides(pane, line, list) {
  let [nearest, fetched, chosen] = [[], null, 0];

  function choose(number) {
    chosen = number;
    const near = nearest[chosen];
    fetched.large[chosen] ??= picture(near, LARGE);
    pane.replaceChildren(fetched.large[chosen]);
    const values = { species: speciesName(near.species, near.common_name), distance: near.distance === null ? "" : decimal(near.distance, 3) };
    if (near.distance === null) line.replaceChildren(...tparts("Photograph of {species}", values));
    else if (near.distance === 0) line.replaceChildren(...tparts("Photograph of {species}: the same picture", values));
    else line.replaceChildren(...tparts("Photograph of {species}: the nearest photograph, distance {distance}", values));
    [...list.children].forEach((entry, place) => entry.firstElementChild.setAttribute("aria-pressed", String(place === chosen)));
  }

  function show(given, beforehand) {
    [nearest, fetched] = [given, beforehand];
    list.replaceChildren(
      ...nearest.map((_, number) => {
        const button = make("button", { type: "button", className: "plain" }, fetched.small[number]);
        button.addEventListener("click", () => choose(number));
        return make("li", {}, button);
      }),
    );
    if (nearest.length) choose(0);
    else {
      pane.replaceChildren();
      line.textContent = t("No photograph of this species is there to compare with.");
    }
  }

  return { show, next: () => nearest.length > 1 && choose((chosen + 1) % nearest.length) };
}
