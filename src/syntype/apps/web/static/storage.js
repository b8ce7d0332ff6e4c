// The page of disk use: what takes room and what lies in the trash. The tables are filled again after every change, and while sizes are added up.
import { byId, call, make, tell } from "./studio.js";
import { KINDS, askDelete, askDestroy, askEmpty, askRename, offerUndo, pageOf, restore, size } from "./dialogs.js";
import { language, number, t } from "./texts.js";

let state = null;
let waiting = null;

function button(words, what, className, action) {
  const made = make("button", { type: "button", className, textContent: words, ariaLabel: `${words} ${what}` });
  made.addEventListener("click", async () => {
    tell("");
    try {
      await action();
    } catch (error) {
      tell(error.message);
    }
    await refresh();
  });
  return made;
}

function cell(...children) {
  return make("td", {}, ...children);
}

function thing(item) {
  const page = pageOf(item);
  const name = page ? make("a", { href: page, textContent: item.title }) : item.title;
  const what = item.finished ? KINDS[item.kind] : t("{kind}, unfinished", { kind: KINDS[item.kind] });
  const remove = async () => {
    const entry = await askDelete(item.kind, item.name);
    if (entry) offerUndo(byId("deleted"), entry, (undone) => ((byId("deleted").textContent = t("{title} is back.", { title: undone.title })), refresh()));
  };
  const buttons = [
    button(t("Rename"), item.title, "second", () => askRename(item.kind, item.name)),
    button(t("Delete"), item.title, "no", remove),
  ];
  const files = item.num_files === null ? "…" : number(item.num_files);
  return make("tr", {}, cell(name), cell(what), cell(size(item.num_bytes)), make("td", { className: "more", textContent: files }), cell(make("span", { className: "row" }, ...buttons)));
}

function trashed(item) {
  const buttons = [
    button(t("Restore"), item.title, "second", () => restore(item)),
    button(t("Delete for good"), item.title, "no", () => askDestroy(item)),
  ];
  const time = new Date(1000 * item.deleted).toLocaleString(language);
  const when = item.by ? t("{time}, by {name}", { time, name: item.by }) : time;
  return make("tr", {}, cell(item.title), cell(KINDS[item.kind]), cell(when), cell(size(item.num_bytes)), cell(make("span", { className: "row" }, ...buttons)));
}

// Fill a table; the focus stays on the button that it is on.
function fill(body, rows) {
  const focused = body.contains(document.activeElement) ? document.activeElement.ariaLabel : null;
  body.replaceChildren(...rows);
  body.closest(".wide").hidden = !rows.length;
  if (focused) [...body.querySelectorAll("button")].find((item) => item.ariaLabel === focused)?.focus();
}

async function refresh() {
  clearTimeout(waiting);
  try {
    state = await call("GET", "/api/storage");
  } catch (error) {
    tell(error.message);
    return;
  }
  const sum = (items) => items.reduce((total, item) => total + (item.num_bytes ?? 0), 0);
  const room = { free: size(state.free), total: size(state.total), things: size(sum(state.things)), trash: size(sum(state.trash)), caches: size(state.cache_bytes) };
  const told = t("{free} of {total} are free on the disk. What is listed here has {things}, the trash {trash}; {caches} are caches, which fill again by themselves.", room);
  byId("room").textContent = state.measuring ? `${told} ${t("Still adding up…")}` : told;
  fill(byId("things"), state.things.map(thing));
  fill(byId("trash"), state.trash.map(trashed));
  byId("no-things").hidden = state.things.length > 0;
  byId("no-trash").hidden = state.trash.length > 0;
  byId("caches").hidden = !state.cache_bytes;
  byId("empty").hidden = !state.trash.length;
  byId("empty").textContent = t("Empty the trash ({size})", { size: size(sum(state.trash)) });
  if (state.measuring) waiting = setTimeout(refresh, 1000);
}

byId("empty").addEventListener("click", () => askEmpty(state.trash).then(refresh));
byId("caches").addEventListener("click", async () => {
  try {
    const freed = await call("DELETE", "/api/storage/caches");
    tell("");
    byId("deleted").textContent = t("{size} of caches were deleted.", { size: size(freed.num_bytes) });
    byId("deleted").hidden = false;
  } catch (error) {
    tell(error.message);
  }
  await refresh();
});
await refresh();
