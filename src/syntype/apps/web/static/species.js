// Names of species: scientific ones in italics, common ones upright.
import { make } from "./studio.js";
import { t } from "./texts.js";

const SCIENTIFIC = /^\p{Lu}[\p{Ll}-]+( \(\p{Lu}[\p{Ll}-]+\))? (× |x )?(\p{Ll}[\p{Ll}-]*\.?|"[^"]*")( |$)/u;
const LATIN = /^(\p{Lu}?[\p{Ll}-]{2,}|\(\p{Lu}\p{Ll}+\))$/u;

// The name as elements: words such as "cf." and "sp." stay upright.
function marked(name) {
  if (!SCIENTIFIC.test(name)) return [name];
  const parts = [];
  for (const word of name.split(" ")) {
    const last = parts.at(-1);
    const latin = LATIN.test(word);
    if (last?.latin === latin) last.words.push(word);
    else parts.push({ latin, words: [word] });
  }
  return parts.flatMap(({ latin, words }, number) => [number ? " " : "", latin ? make("i", { textContent: words.join(" ") }) : words.join(" ")]);
}

export function speciesName(species, common) {
  const known = common && common !== species;
  return make("span", { className: "species" }, ...(species === common ? [species ?? t("no species")] : marked(species ?? t("no species"))), known ? ` (${common})` : "");
}

// A sentence in which these names occur.
export function withNames(sentence, names) {
  const known = names.filter((name) => name && sentence.includes(name)).sort((one, other) => other.length - one.length);
  if (!known.length) return [sentence];
  const [before, ...after] = sentence.split(known[0]);
  return [...withNames(before, known.slice(1)), ...after.flatMap((part) => [...marked(known[0]), ...withNames(part, known.slice(1))])];
}
