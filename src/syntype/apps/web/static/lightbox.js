// One image, large: over the page from which it was opened, under the address of its own page, or on that page itself.
import { byId, make, tell } from "./studio.js";
import { t } from "./texts.js";

const part = (article, which) => article.querySelector(which);
const way = (article, rel) => part(article, `a[rel=${rel}]`)?.href;

// The file itself instead of the picture that fits the screen.
function toggleFull(article) {
  const button = part(article, "#full");
  if (!button) return;
  const image = part(article, ".large img");
  const on = button.getAttribute("aria-pressed") !== "true";
  image.dataset.fitted ??= image.src;
  image.src = on ? button.dataset.file : image.dataset.fitted;
  button.setAttribute("aria-pressed", String(on));
  article.classList.toggle("full", on);
}

function prepare(article) {
  const button = part(article, "#full");
  if (!button) return;
  button.hidden = false;
  button.addEventListener("click", () => toggleFull(article));
}

const SWIPE = 60; // pixels
function onSwipe(place, act) {
  let began = null;
  place.addEventListener("touchstart", ({ touches }) => (began = touches.length === 1 ? touches[0] : null), { passive: true });
  place.addEventListener("touchend", ({ changedTouches: [ended] }) => {
    if (!began || part(place, ".full")) return;
    const [across, down] = [ended.clientX - began.clientX, ended.clientY - began.clientY];
    if (Math.abs(across) > SWIPE && Math.abs(across) > 2 * Math.abs(down)) act(across < 0 ? "next" : "prev");
  });
}

const letters = (event) => !event.ctrlKey && !event.metaKey && !event.altKey && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);

async function article(address) {
  const answer = await fetch(address, { headers: { Accept: "text/html" } });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const found = page.getElementById("looked");
  if (!answer.ok || !found) throw new Error(t("This image cannot be shown. It may have been deleted since: reload the page."));
  return { title: page.title, found: document.adoptNode(found) };
}

// A function that opens the page of an image, given by its address, over this one.
// find: the tile of an image_id; focus: gives a tile the focus again; judge, undo: where images can be judged, they say what they did.
export function lightbox({ find, focus, judge, undo }) {
  const dialog = make("dialog", { className: "lightbox", ariaLabel: t("Image") });
  const title = document.title;
  let asked = 0;
  let ahead = {}; // the page of the next image, asked for in advance
  let shown = null;

  async function show(address) {
    const mine = ++asked;
    const coming = ahead.address === address ? ahead.page : article(address);
    try {
      const page = await coming;
      if (mine !== asked) return;
      ahead = {};
      shown = page.found;
      document.title = page.title;
      dialog.replaceChildren(shown);
      if (!dialog.open) dialog.showModal();
      prepare(shown);
      part(shown, "h1").focus();
      for (const button of shown.querySelectorAll("[data-decision]")) {
        button.hidden = !judge;
        button.addEventListener("click", () => decide(button.dataset.decision));
      }
      const next = way(shown, "next");
      if (!next) return;
      ahead = { address: next, page: article(next) };
      ahead.page.then(({ found }) => (new Image().src = part(found, ".large img").src)).catch(() => (ahead = {}));
    } catch (error) {
      if (dialog.open) history.back();
      tell(error.message);
    }
  }

  function go(rel) {
    const address = shown && way(shown, rel);
    if (!address) return;
    history.replaceState({ look: true }, "", address);
    show(address);
  }

  async function decide(decision) {
    if (!judge || !("synthetic" in shown.dataset)) return;
    const judged = shown;
    const say = (words) => (part(judged, "#looked-told").textContent = words);
    const problem = byId("problem");
    say("");
    await (decision === "undo" ? undo(say) : judge(decision, [judged.dataset.image], say));
    if (!problem.hidden) return say(problem.textContent);
    const fresh = await article(location.href).catch(() => null);
    if (fresh && shown === judged) part(judged, ".facts").replaceWith(part(fresh.found, ".facts"));
  }

  function shut() {
    const last = shown;
    asked += 1;
    shown = null;
    document.title = title;
    dialog.close();
    const tile = last && find(last.dataset.image);
    if (last && !tile && !part(last, "#looked-told").textContent && part(last, "#shut")) location.assign(part(last, "#shut").href); // on another page of images
    else focus(tile);
  }

  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    history.back();
  });
  dialog.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (event.target === dialog || link?.id === "shut") history.back();
    else if (link?.rel === "next" || link?.rel === "prev") go(link.rel);
    else return;
    event.preventDefault();
  });
  dialog.addEventListener("keydown", (event) => {
    if (!shown || !letters(event)) return;
    const act = {
      ArrowRight: () => go("next"), ArrowLeft: () => go("prev"), f: () => toggleFull(shown),
      a: () => decide("accept"), r: () => decide("reject"), z: () => decide("undo"),
    }[event.key];
    if (!act || (shown.classList.contains("full") && event.key.startsWith("Arrow")) || (event.repeat && !event.key.startsWith("Arrow"))) return;
    event.preventDefault();
    act();
  });
  onSwipe(dialog, go);
  window.addEventListener("popstate", ({ state }) => {
    if (state?.look) show(location.href);
    else if (dialog.open) shut();
  });
  document.body.append(dialog);

  return (address) => {
    history.pushState({ look: true }, "", address);
    return show(address);
  };
}

// The image's own page: the same keys.
const own = byId("main").querySelector(":scope > #looked");
if (own) {
  prepare(own);
  const go = (rel) => way(own, rel) && location.assign(way(own, rel));
  document.addEventListener("keydown", (event) => {
    if (!letters(event) || own.classList.contains("full")) return event.key === "f" && toggleFull(own);
    if (event.key === "ArrowRight") go("next");
    if (event.key === "ArrowLeft") go("prev");
    if (event.key === "f") toggleFull(own);
  });
  onSwipe(own, go);
  // Reached by reloading an image that lay over another page, Back changes the address alone.
  const address = () => location.pathname + location.search;
  const mine = address();
  window.addEventListener("popstate", () => address() !== mine && location.replace(address()));
}
