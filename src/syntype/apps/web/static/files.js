// What was dropped or chosen: files and whole folders, each file with the path of its folder.
import { t } from "./texts.js";

// Files that systems put beside photographs; the server passes over the same.
const HIDDEN = /^(\.|thumbs\.db$|ehthumbs(_vista)?\.db$|desktop\.ini$|icon\r$|__macosx$|@eadir$|#recycle$|\$recycle\.bin$|lost\+found$|system volume information$)/i;
const seen = (path) => !path.split("/").some((part) => HIDDEN.test(part));

// All entries of a folder: a browser gives at most a hundred at a time.
async function entries(folder) {
  const reader = folder.createReader();
  const all = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return all;
    all.push(...some);
  }
}

async function walk(entry, above, found, failed) {
  const path = above ? `${above}/${entry.name}` : entry.name;
  if (!seen(entry.name)) return;
  try {
    if (entry.isDirectory) for (const inner of await entries(entry)) await walk(inner, path, found, failed);
    else found.push({ file: await new Promise((resolve, reject) => entry.file(resolve, reject)), folder: above || null });
  } catch (error) {
    failed.push({ file: path, reason: t("cannot be read ({error}). Check that it is still there and may be read.", { error: error.message }) });
  }
}

// The items without the folder around all of them, if there are folders in it: as if it were sent itself. "title" is what they are called together.
function unwrapped(items) {
  const top = items[0]?.folder?.split("/")[0];
  const within = (item) => item.folder === top || item.folder?.startsWith(`${top}/`);
  if (!top || !items.every(within)) return { items, title: items.length === 1 && !items[0].folder ? packed(items[0].file.name) : "" };
  if (!items.some((item) => item.folder !== top)) return { items, title: top };
  return { items: items.map(({ file, folder }) => ({ file, folder: folder.slice(top.length + 1) })), title: top };
}

const packed = (name) => (/\.zip$/i.test(name) ? name.slice(0, -4) : "");

// What was dropped. The entries must be asked for at once: after the event the browser forgets them.
export async function dropped(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file").map((item) => ({ entry: item.webkitGetAsEntry?.(), file: item.getAsFile() }));
  const found = [];
  const failed = [];
  for (const { entry, file } of items) {
    if (entry?.isDirectory) await walk(entry, "", found, failed);
    else if (file && seen(file.name)) found.push({ file, folder: null });
  }
  return { ...unwrapped(found), failed };
}

// What was chosen in a field: files, or a folder.
export function picked(files) {
  const items = [...files].map((file) => ({ file, path: file.webkitRelativePath })).filter(({ file, path }) => seen(path || file.name));
  return { ...unwrapped(items.map(({ file, path }) => ({ file, folder: path ? path.slice(0, path.lastIndexOf("/")) : null }))), failed: [] };
}
