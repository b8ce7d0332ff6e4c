// Photograph or not: one picture at a time, the score at the end. The quiz's id stands in the address, so that a reload goes on with it.
import "/static/made-from.js";
import { onKeys, onPress } from "/static/keys.js";
import { byId, call, oneAtATime, onSubmit, reviewerName } from "/static/studio.js";

let quiz = null;
let seen = false;
const once = oneAtATime();
const percent = (share) => `${Math.round(100 * share)} %`;

function see(there) {
  seen = there;
  byId("quiz").ariaBusy = String(!there);
}

async function show() {
  const at = quiz.num_answered;
  byId("asking").hidden = true;
  byId("quiz").hidden = at === quiz.num_items;
  if (at < quiz.num_items) {
    byId("counted").textContent = `Picture ${at + 1} of ${quiz.num_items}`;
    const picture = byId("picture");
    picture.src = `/api/quizzes/${quiz.id}/items/${at}/image`;
    see(false); // no answer counts before it can be seen
    await picture.decode().catch(() => {
      throw new Error("The picture cannot be shown. Reload the page: the quiz goes on where it is.");
    });
    see(true);
    return;
  }
  const result = await call("GET", `/api/quizzes/${quiz.id}/result`);
  byId("result").hidden = false;
  byId("score").textContent = `${result.num_right} of ${result.num_items} right.`;
  byId("meaning").textContent =
    `That is ${percent(result.share_right)}; the 95 % interval is ${percent(result.interval[0])} to ${percent(result.interval[1])}, ` +
    `and guessing gives half. You took ${percent(result.convincing)} of the synthetic images for photographs, and ${percent(result.doubted)} of the photographs for synthetic.`;
}

const step = (action) =>
  once(async () => {
    await action();
    await show();
  });
const answer = (isReal) => quiz && seen && !byId("quiz").hidden && step(async () => (quiz = await call("POST", `/api/quizzes/${quiz.id}/items/${quiz.num_answered}`, { is_real: isReal })));

for (const button of document.querySelectorAll("[data-real]")) onPress(button, () => answer(button.dataset.real === "yes"));
onKeys({ p: () => answer(true), s: () => answer(false) });
const begun = new URLSearchParams(location.search).get("quiz");
if (byId("begin")) {
  const reviewer = reviewerName();
  onSubmit(byId("begin"), async () => {
    const asked = { synthetic: byId("synthetic").value, real: byId("real").value, reviewer: reviewer(), num: Number(byId("num").value) };
    quiz = await call("POST", "/api/quizzes", asked);
    history.replaceState(null, "", `?quiz=${quiz.id}`);
    await show();
  });
  if (begun) step(async () => (quiz = await call("GET", `/api/quizzes/${encodeURIComponent(begun)}`)));
}
