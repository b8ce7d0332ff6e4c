// Photographs, folders and zips on their way to the server: a few at a time, what cannot be used is listed with the reason, and the others go on.
import { size } from "./dialogs.js";
import { dropped, picked } from "./files.js";
import { left } from "./jobs.js";
import { byId, call, csrf, make, signInAgain } from "./studio.js";
import { t, tn } from "./texts.js";

const SHOWN = 24; // of the chosen photographs
const AT_ONCE = 3;
const drop = byId("drop");
const bar = byId("sent-bytes");
let chosen = { items: [], failed: [], title: "" };
let stopping = null;
let offered = ""; // as the name of the new collection

const note = ({ file, reason }) => byId("refused").append(make("li", { textContent: `${file}: ${reason.startsWith(`${file}: `) ? reason.slice(file.length + 2) : reason}` }));
const nameOf = ({ file, folder }) => (folder ? `${folder}/${file.name}` : file.name);

// The name of the new collection, unless another one was typed: what the folder or zip is called, else the species.
function offerName() {
  const field = byId("name");
  if (field && (field.value === "" || field.value === offered)) field.value = offered = (chosen.title || (byId("species")?.value.trim() ?? "")).normalize("NFC").slice(0, field.maxLength);
}
byId("species")?.addEventListener("input", offerName);
byId("name")?.addEventListener("focus", ({ target }) => target.value === offered && target.select()); // so that typing replaces it

function choose(found) {
  chosen = found;
  offerName();
  const bytes = found.items.reduce((sum, item) => sum + item.file.size, 0);
  byId("sent").textContent = tn("{n} file chosen", "{n} files chosen", found.items.length) + (bytes ? `, ${size(bytes)}` : "");
  byId("refused").replaceChildren();
  found.failed.forEach(note);
  for (const old of byId("chosen-files").children) URL.revokeObjectURL(old.src);
  const pictures = found.items.map((item) => item.file).filter((file) => /^image\/(jpeg|png|webp|gif)$/.test(file.type)).slice(0, SHOWN);
  byId("chosen-files").replaceChildren(...pictures.map((file) => make("img", { src: URL.createObjectURL(file), alt: file.name })));
}

const target = "everywhere" in drop.dataset ? document.body : drop; // what is dropped anywhere on the page is meant too
for (const kind of ["dragover", "dragleave", "drop"]) {
  target.addEventListener(kind, async (event) => {
    if (target !== drop && !event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    drop.closest("details")?.setAttribute("open", "");
    drop.classList.toggle("over", kind === "dragover");
    if (kind !== "drop" || stopping) return;
    if (target !== drop) drop.scrollIntoView({ block: "center" });
    for (const id of ["files", "folder"]) byId(id).value = "";
    byId("sent").textContent = t("Looking at what was dropped…");
    choose(await dropped(event.dataTransfer));
  });
}
for (const kind of ["dragover", "drop"]) {
  addEventListener(kind, (event) => event.dataTransfer.types.includes("Files") && event.preventDefault()); // beside the target: the browser would leave the page
}
for (const [id, other] of [["files", "folder"], ["folder", "files"]]) {
  byId(id).addEventListener("change", () => {
    byId(other).value = "";
    choose(picked(byId(id).files));
  });
}
if (byId("files").files.length) choose(picked(byId("files").files)); // chosen before this script ran, or kept by the browser
byId("stop").addEventListener("click", () => stopping?.abort());
addEventListener("beforeunload", (event) => stopping && event.preventDefault());

// Send one file and tell how many of its bytes are under way; the server's answer, or an Error.
function put(path, file, token, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch does not tell how much was sent
    request.open("PUT", path);
    request.setRequestHeader("X-Syntype-Csrf", token);
    request.upload.addEventListener("progress", (event) => progress(event.loaded));
    request.addEventListener("error", () => reject(Object.assign(new Error(t("the connection broke")), { lost: true })));
    request.addEventListener("abort", () => reject(new DOMException("", "AbortError")));
    request.addEventListener("load", () => {
      let value = {};
      try {
        value = JSON.parse(request.responseText);
      } catch {
        // an answer of something between us and the server
      }
      if (request.status === 401) signInAgain();
      if (request.status === 200) resolve(value);
      else reject(Object.assign(new Error(value.error ?? t("The server answered with an error ({status}). Send it again.", { status: request.status })), { again: request.status === 503 }));
    });
    stopping.signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(file);
  });
}

// Why a file was not sent: it cannot be read, the connection broke, or the server is away; then nothing more can be sent.
async function whyLost(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    return t("cannot be read. Check that it is still there, is no folder and may be read.");
  }
  await call("GET", "/api/session");
  return t("could not be sent: the connection broke. Send it again, or a smaller one.");
}

// Send what was chosen; the upload's id, once at least so many images were taken. An upload from which nothing can come is deleted.
export async function send(species, least = 1) {
  const { items, failed } = chosen;
  byId("refused").replaceChildren();
  failed.forEach(note);
  if (!items.length) throw new Error(t("Choose photographs, a folder or a zip first."));
  const token = await csrf();
  const whole = items.reduce((sum, item) => sum + item.file.size, 0);
  const { upload } = await call("POST", `/api/uploads?num_bytes=${whole}`);
  const began = performance.now();
  const under = new Map(); // bytes of each file that is being sent
  let done = 0;
  let ended = 0;
  let taken = 0;
  stopping = new AbortController();
  byId("sending").hidden = false;
  const show = () => {
    const sent = Math.min(whole, [...under.values()].reduce((sum, bytes) => sum + bytes, done));
    const seconds = (performance.now() - began) / 1000;
    Object.assign(bar, { max: Math.max(1, whole), value: sent });
    const rest = seconds > 2 && sent ? left((seconds * (whole - sent)) / sent) : "";
    byId("sent").textContent = tn("{sent} of {n} file, {bytes} of {all}", "{sent} of {n} files, {bytes} of {all}", items.length, { sent: ended, bytes: size(sent), all: size(whole) }) + rest;
  };
  const one = async (item) => {
    const query = new URLSearchParams({ name: item.file.name, ...(species && { species }), ...(item.folder !== null && { folder: item.folder }) });
    const sending = () => put(`/api/uploads/${upload}/files?${query}`, item.file, token, (bytes) => (under.set(item, Math.min(bytes, item.file.size)), show()));
    try {
      const answer = await sending().catch((error) => (error.again ? new Promise((wait) => setTimeout(wait, 2000)).then(sending) : Promise.reject(error)));
      taken += answer.num_taken;
      answer.refused.forEach(({ file, reason, hint }) => note({ file, reason: `${reason}. ${hint}` }));
    } catch (error) {
      if (error.name === "AbortError") throw error;
      note({ file: nameOf(item), reason: error.lost ? await whyLost(item.file) : error.message });
    }
    under.delete(item);
    done += item.file.size;
    ended += 1;
    show();
  };
  const queue = items.values();
  const worker = async () => {
    for (const item of queue) {
      if (stopping.signal.aborted) throw new DOMException("", "AbortError");
      await one(item);
    }
  };
  try {
    show();
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    const tables = least > 1 ? 0 : (await call("GET", `/api/uploads/${upload}`)).num_tables;
    byId("sent").textContent = tn("{n} image sent", "{n} images sent", taken);
    if (taken + tables < least) {
      throw new Error(least === 1 ? t("No image could be used; see the reasons next to the files.") : t("At least {least} photographs are needed; {taken} could be used.", { least, taken }));
    }
    return upload;
  } catch (error) {
    const cancelled = error.name === "AbortError";
    stopping.abort(); // the others that are under way
    if (cancelled) byId("sent").textContent = t("Cancelled. Nothing of it is kept.");
    await call("DELETE", `/api/uploads/${upload}`).catch(() => {}); // where the server is away, the first page shows what has arrived
    throw cancelled ? new Error(t("Sending was cancelled.")) : error;
  } finally {
    stopping = null;
    byId("sending").hidden = true;
  }
}
