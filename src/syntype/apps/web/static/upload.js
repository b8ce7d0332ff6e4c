// Photographs and zips on their way to the server: dropped or chosen, sent one by one, refused ones listed with the reason.
import { byId, call, make } from "/static/studio.js";

const SHOWN = 24; // of the chosen photographs
const drop = byId("drop");
export const input = byId("files");

for (const kind of ["dragover", "dragleave", "drop"]) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop") {
      input.files = event.dataTransfer.files;
      input.dispatchEvent(new Event("change"));
    }
  });
}
input.addEventListener("change", () => {
  byId("sent").textContent = `${input.files.length} ${input.files.length === 1 ? "file" : "files"} chosen`;
  for (const old of byId("chosen-files").children) URL.revokeObjectURL(old.src);
  const pictures = [...input.files].filter((file) => /^image\/(jpeg|png|webp|gif)$/.test(file.type)).slice(0, SHOWN);
  byId("chosen-files").replaceChildren(...pictures.map((file) => make("img", { src: URL.createObjectURL(file), alt: file.name })));
});

// Send what was chosen; the upload's id, once at least so many images were taken.
export async function send(species, least = 1) {
  const refused = byId("refused");
  const note = (file, reason) => refused.append(make("li", { textContent: `${file}: ${reason}` }));
  refused.replaceChildren();
  if (!input.files.length) throw new Error("Choose photographs or a zip first.");
  const bytes = [...input.files].reduce((sum, file) => sum + file.size, 0);
  const { upload } = await call("POST", `/api/uploads?num_bytes=${bytes}`);
  let taken = 0;
  for (const [number, file] of [...input.files].entries()) {
    byId("sent").textContent = `Sending ${number + 1} of ${input.files.length}: ${file.name}`;
    const query = new URLSearchParams(species ? { name: file.name, species } : { name: file.name });
    try {
      const answer = await call("PUT", `/api/uploads/${upload}/files?${query}`, file);
      taken += answer.num_taken;
      for (const item of answer.refused) note(item.file, `${item.reason}. ${item.hint}`);
    } catch (error) {
      note(file.name, error.message);
    }
  }
  const tables = least > 1 ? 0 : (await call("GET", `/api/uploads/${upload}`)).num_tables;
  byId("sent").textContent = `${taken} ${taken === 1 ? "image" : "images"} sent`;
  if (taken + tables < least) {
    await call("DELETE", `/api/uploads/${upload}`);
    throw new Error(least === 1 ? "No image could be used; see the reasons next to the files." : `At least ${least} photographs are needed; ${taken} could be used.`);
  }
  return upload;
}
