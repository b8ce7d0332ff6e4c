// Photograph or not, or which species: one picture at a time, the score and the mistakes at the end. The quiz's id stands in the address, so that a reload goes on with it.
import "./made-from.js";
import { onKeys, onPress } from "./keys.js";
import { speciesName } from "./species.js";
import { byId, call, make, oneAtATime, onSubmit, reviewerName, thumbnail } from "./studio.js";
import { t, tparts } from "./texts.js";

const REAL = [
  { key: "p", label: t("photograph"), answer: { is_real: true }, real: "yes" },
  { key: "s", label: t("synthetic"), answer: { is_real: false }, real: "no" },
];
let quiz = null;
let choices = []; // of the picture shown
let seen = false;
let revealed = null; // in a class: the picture is answered, and what it is stands there
let forClass = false;
let hands = []; // in a class: the choices, one for each hand
const once = oneAtATime();
const percent = (share) => t("{percent} %", { percent: Math.round(100 * share) });
const counted = () => JSON.parse(sessionStorage.getItem(`hands ${quiz.id}`) ?? "[0, 0]"); // right ones, and all

function see(there) {
  seen = there;
  byId("quiz").ariaBusy = String(!there);
}

function showChoices() {
  choices = quiz.kind === "real" ? REAL : quiz.choices.map((choice, number) => ({ key: String(number + 1), ...choice, answer: { choice: number } }));
  byId("choices").replaceChildren(
    ...choices.map((choice, number) => {
      const name = choice.label ?? speciesName(choice.species, choice.common_name);
      const button = make("button", { type: "button" }, make("kbd", { textContent: choice.key }), " ", name, make("span", { className: "count" }));
      if (choice.real) button.dataset.real = choice.real;
      onPress(button, () => answer(number));
      return button;
    }),
  );
}

function showHands() {
  [...byId("choices").children].forEach((button, number) => {
    const raised = hands.filter((hand) => hand === number).length;
    button.querySelector(".count").textContent = raised ? ` ${raised}` : "";
  });
}

// Photographs of the same species, small.
const similar = (nearest) => nearest.map((near) => make("li", {}, Object.assign(new Image(), { src: thumbnail(near.collection, near, 320), alt: t("Photograph of {species}", { species: near.species ?? t("no species") }) })));
function whatItIs(item) {
  const species = speciesName(item.species, item.common_name);
  return item.is_real ? tparts("A photograph of {species}", { species }) : tparts("Synthetic, labelled {species}", { species });
}

function whatWasSaid(item) {
  if (item.said_species) return tparts("You said: {answer}", { answer: speciesName(item.said_species) });
  if (item.said_real === null) return [t("Not decided")];
  return [t("You said: {answer}", { answer: item.said_real ? t("photograph") : t("synthetic") })];
}

async function show() {
  const at = quiz.num_answered;
  byId("asking").hidden = true;
  byId("title").textContent = quiz.kind === "real" ? t("Photograph or not?") : t("Which species is it?");
  byId("quiz").hidden = at === quiz.num_items;
  byId("quiz").classList.toggle("for-class", forClass);
  byId("class-keys").hidden = !forClass;
  if (at === quiz.num_items) return showResult();
  [revealed, hands] = [null, []];
  byId("revealed").hidden = true;
  byId("fewer").hidden = false;
  byId("reveal-words").textContent = t("show what it is");
  showChoices();
  byId("counted").textContent = t("Picture {number} of {total}", { number: at + 1, total: quiz.num_items });
  const picture = byId("picture");
  picture.src = `/api/quizzes/${quiz.id}/items/${at}/image`;
  see(false); // no answer counts before it can be seen
  await picture.decode().catch(() => {
    throw new Error(t("The picture cannot be shown. Reload the page: the quiz goes on where it is."));
  });
  see(true);
}

async function showResult() {
  const result = await call("GET", `/api/quizzes/${quiz.id}/result`);
  byId("result").hidden = false;
  byId("score").textContent = t("{right} of {total} right.", { right: result.num_right, total: result.num_items });
  const half = t("half");
  const about = t("That is {share}; the 95 % interval is {low} to {high}, and guessing gives {guessing}.", { share: percent(result.share_right), low: percent(result.interval[0]), high: percent(result.interval[1]), guessing: result.guessing === 0.5 ? half : percent(result.guessing) });
  const told =
    quiz.kind === "real"
      ? t("You took {convincing} of the synthetic images for photographs, and {doubted} of the photographs for synthetic.", { convincing: percent(result.convincing), doubted: percent(result.doubted) })
      : t("You named {real} of the photographs and {synthetic} of the synthetic images as they are labelled.", { real: percent(result.right_real), synthetic: percent(result.right_synthetic) });
  const [right, all] = counted();
  byId("meaning").textContent = `${about} ${told}${all ? ` ${t("Of {all} hands, {right} were right.", { all, right })}` : ""}`;
  byId("wrong").hidden = !result.mistakes.length;
  byId("mistakes").replaceChildren(
    ...result.mistakes.map((item) => {
      const picture = Object.assign(new Image(), { loading: "lazy", src: `/api/quizzes/${quiz.id}/items/${item.number}/image`, alt: t("Picture {number}", { number: item.number + 1 }) });
      const words = make("figcaption", {}, make("strong", {}, ...whatItIs(item)), make("br"), ...whatWasSaid(item));
      return make("li", {}, make("figure", {}, picture, words), make("ul", { className: "grid", ariaLabel: t("Photographs of this species") }, ...similar(item.nearest)));
    }),
  );
}

async function send(given) {
  quiz = await call("POST", `/api/quizzes/${quiz.id}/items/${quiz.num_answered}`, given);
}

const asking = () => quiz && seen && !byId("quiz").hidden;

// An answer; in a class, one hand for it.
function answer(number) {
  if (!asking() || number >= choices.length || revealed) return;
  if (forClass) {
    hands.push(number);
    showHands();
  } else {
    once(async () => {
      await send(choices[number].answer);
      await show();
    });
  }
}

function fewer() {
  if (!asking() || revealed) return;
  hands.pop();
  showHands();
}

// In a class: what the picture is; most hands are the answer of the class, and none or a tie is none. Then the next picture.
const reveal = () =>
  asking() &&
  once(async () => {
    if (revealed) return show();
    const at = quiz.num_answered;
    const raised = choices.map((_, number) => hands.filter((hand) => hand === number).length);
    const most = Math.max(...raised);
    const leading = raised.filter((number) => number === most).length === 1 ? choices[raised.indexOf(most)] : null;
    const shown = choices;
    await send(leading ? leading.answer : {});
    revealed = await call("GET", `/api/quizzes/${quiz.id}/items/${at}`);
    const right = shown.findIndex((choice) => (choice.real ? (choice.real === "yes") === revealed.is_real : choice.species === revealed.species));
    const [before, all] = counted();
    sessionStorage.setItem(`hands ${quiz.id}`, JSON.stringify([before + raised[right], all + hands.length]));
    byId("truth").replaceChildren(...whatItIs(revealed));
    byId("hands").textContent = hands.length ? t("{right} of {all} hands were right.", { right: raised[right], all: hands.length }) : "";
    byId("similar").replaceChildren(...similar(revealed.nearest));
    byId("reveal-words").textContent = quiz.num_answered === quiz.num_items ? t("score") : t("next picture");
    byId("revealed").hidden = false;
    byId("fewer").hidden = true;
  });

onPress(byId("reveal"), reveal);
onPress(byId("fewer"), fewer);
const keys = Object.fromEntries(["p", "s", "1", "2", "3", "4"].map((key) => [key, () => (asking() ? answer(choices.findIndex((choice) => choice.key === key) >>> 0) : false)]));
onKeys({ ...keys, Enter: () => (asking() && forClass ? void reveal() : false), z: () => (asking() && forClass ? fewer() : false) });

const given = new URLSearchParams(location.search);
if (byId("begin")) {
  const reviewer = reviewerName();
  const begin = async (begun) => {
    quiz = begun;
    history.replaceState(null, "", `?quiz=${quiz.id}${forClass ? "&class=1" : ""}`);
    await show();
    document.activeElement?.blur();
  };
  byId("class").addEventListener("change", () => byId("class").checked && (byId("reviewer").value ||= t("Class")));
  onSubmit(byId("begin"), async () => {
    forClass = byId("class").checked;
    const asked = { synthetic: byId("synthetic").value, real: byId("real").value, reviewer: reviewer(), num: Number(byId("num").value), kind: byId("kind").value };
    await begin(await call("POST", "/api/quizzes", asked));
  });
  if (given.get("quiz")) {
    forClass = given.get("class") === "1";
    once(async () => begin(await call("GET", `/api/quizzes/${encodeURIComponent(given.get("quiz"))}`)));
  }
}
