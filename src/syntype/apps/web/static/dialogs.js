// Dialogs that ask before something is renamed, deleted or restored. They are closed with Escape, and the focus goes back to where it was.
import { call, make } from "./studio.js";
import { decimal, t, tn } from "./texts.js";

export const KINDS = { collections: t("collection"), generators: t("generator"), identifiers: t("identifier"), studies: t("study"), exports: t("export"), uploads: t("photographs, not imported yet") };

// A number of bytes as people say it.
export function size(bytes) {
  if (bytes === null) return "…";
  let value = bytes;
  for (const unit of [t("bytes"), "kB", "MB", "GB"]) {
    if (value < 999.5) return `${unit === t("bytes") || value >= 99.5 ? Math.round(value) : decimal(value, 1)} ${unit}`;
    value /= 1000;
  }
  return `${decimal(value, 1)} TB`;
}

// Show a dialog and do something when it is agreed to; the promise gives what was done, null if nothing was.
// An error of the action is told in the dialog, which stays open. Where something is deleted, Enter alone cancels.
export function ask(title, parts, agree, action, dangerous) {
  return new Promise((resolve) => {
    const problem = make("p", { className: "wrong", hidden: true });
    problem.setAttribute("role", "alert");
    const heading = make("h2", { id: "asking-title", textContent: title });
    const cancel = make("button", { type: "button", className: "second", textContent: agree ? t("Cancel") : t("Close"), autofocus: Boolean(dangerous) });
    const go = agree ? [make("button", { textContent: agree, className: dangerous ? "no" : "" })] : [];
    const form = make("form", { method: "dialog", className: "asked" }, heading, ...parts, problem, make("p", { className: "actions" }, ...go, cancel));
    const dialog = make("dialog", {}, form);
    dialog.setAttribute("aria-labelledby", "asking-title");
    let done = null;
    cancel.addEventListener("click", () => dialog.close());
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (!agree) return dialog.close();
      go[0].disabled = true;
      try {
        done = await action();
        dialog.close();
      } catch (error) {
        problem.textContent = error.message;
        problem.hidden = false;
      } finally {
        go[0].disabled = false;
      }
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(done);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

const paragraph = (textContent, className = "") => make("p", { textContent, className });
const told = (sentences) => (sentences.length ? [make("ul", { className: "notes" }, ...sentences.map((textContent) => make("li", { textContent })))] : []);


function field(label, value) {
  const input = make("input", { id: "asking-name", value, required: true, maxLength: 100, autocomplete: "off" });
  const words = make("label", { textContent: label });
  words.htmlFor = "asking-name";
  return [input, make("div", {}, words, input)];
}

const address = (kind, name) => `/api/storage/${kind}/${name}`;

// Ask for another name; the renamed thing, or null.
export async function askRename(kind, name) {
  const thing = await call("GET", address(kind, name));
  if (thing.not_renamed) return ask(t("{title} cannot be renamed now", { title: thing.title }), [paragraph(thing.not_renamed, "wrong")]);
  const [input, box] = field(t("New name"), thing.title);
  const goes = thing.dependents.length ? [paragraph(t("What was made from it goes on pointing to it:")), ...told(thing.dependents)] : [];
  const hint = kind === "uploads" ? [] : [paragraph(t("Its verdicts go along. Reports that were written keep the old name."), "hint")];
  return ask(t("Rename {title}", { title: thing.title }), [box, ...hint, ...goes], t("Rename"), () => call("POST", `${address(kind, name)}/rename`, { name: input.value }));
}

// Ask before something moves to the trash; its entry there, or null.
export async function askDelete(kind, name) {
  const thing = await call("GET", address(kind, name));
  if (thing.not_deleted) return ask(t("{title} cannot be deleted now", { title: thing.title }), [paragraph(thing.not_deleted, "wrong"), ...told(thing.dependents)]);
  const parts = [paragraph(tn("It has {size} in {n} file. It moves to the trash, from where it can be restored.", "It has {size} in {n} files. It moves to the trash, from where it can be restored.", thing.num_files, { size: size(thing.num_bytes) }))];
  if (thing.dependents.length) parts.push(paragraph(t("What depends on it, and stays:")), ...told(thing.dependents));
  return ask(t("Delete {title}?", { title: thing.title }), parts, t("Move to the trash"), () => call("DELETE", address(kind, name)), true);
}

// Restore something; if its name is taken, ask for another one. The restored thing, or null.
export async function restore(entry) {
  const send = (name) => call("POST", `/api/trash/${entry.id}/restore`, { name });
  try {
    return await send(null);
  } catch (error) {
    if (!error.taken) throw error;
    const [input, box] = field(t("Name to restore it under"), `${entry.title}-restored`);
    const why = paragraph(t("The name {name} is taken now ({kind}).", { name: entry.name, kind: KINDS[entry.kind] }));
    return ask(t("Restore {title} under another name", { title: entry.title }), [why, box], t("Restore"), () => send(input.value));
  }
}

// Ask before something in the trash is deleted for good; how much room that gave, or null.
export async function askDestroy(listed) {
  const entry = await call("GET", `/api/trash/${listed.id}`);
  const parts = [paragraph(t("{size} become free. Its verdicts go with it. This cannot be undone.", { size: size(entry.num_bytes) }))];
  if (entry.dependents.length) parts.push(paragraph(t("What was made from it stays:")), ...told(entry.dependents));
  return ask(t("Delete {title} for good?", { title: entry.title }), parts, t("Delete for good"), () => call("DELETE", `/api/trash/${entry.id}`), true);
}

// Ask before the whole trash is emptied; how much room that gave, or null.
export function askEmpty(entries) {
  const bytes = entries.reduce((sum, entry) => sum + (entry.num_bytes ?? 0), 0);
  const parts = [paragraph(t("{size} become free. Verdicts of deleted collections go with them. This cannot be undone.", { size: size(bytes) }))];
  parts.push(...told(entries.map((entry) => `${entry.title} (${KINDS[entry.kind]}), ${size(entry.num_bytes)}`)));
  return ask(tn("Delete one thing for good?", "Delete {n} things for good?", entries.length), parts, t("Empty the trash"), () => call("DELETE", "/api/trash"), true);
}

// Say what has just been deleted, with a button that takes it back.
export function offerUndo(place, entry, undone) {
  const undo = make("button", { type: "button", className: "second", textContent: t("Undo") });
  undo.setAttribute("aria-label", t("Undo: restore {title}", { title: entry.title }));
  undo.addEventListener("click", async () => {
    undo.disabled = true;
    try {
      const thing = await restore(entry);
      if (thing) undone(thing);
    } catch (error) {
      place.append(` ${error.message}`);
    } finally {
      undo.disabled = false;
    }
  });
  place.replaceChildren(`${t("{title} is in the trash.", { title: entry.title })} `, undo);
  place.hidden = false;
}

// Where the page of a thing is; null if it has none.
export function pageOf(thing) {
  if (!thing.finished) return null;
  return thing.kind === "exports" ? `/api/exports/${thing.name}/file` : `/${thing.kind}/${thing.name}`;
}
