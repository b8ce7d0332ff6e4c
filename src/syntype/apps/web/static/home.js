import { call, make, tell } from "/static/studio.js";

const jobs = document.getElementById("jobs");
const ACTIVE = ["waiting", "running"];
let wereActive = new Set();

function left(seconds) {
  if (seconds === null) return "";
  if (seconds < 90) return `about ${Math.ceil(seconds)} s left`;
  return seconds < 5400 ? `about ${Math.round(seconds / 60)} min left` : `about ${(seconds / 3600).toFixed(1)} h left`;
}

function row(job) {
  const item = make("li", {}, make("strong", { textContent: `${job.kind}: ${job.name}` }), make("span", { textContent: job.status }));
  if (job.status === "waiting") item.append(make("span", { textContent: `${job.ahead} before it` }));
  if (job.status === "running") {
    const bar = make("progress", { ariaLabel: `Progress of ${job.name}` });
    if (job.total) Object.assign(bar, { max: job.total, value: job.done });
    item.append(bar, make("span", { textContent: left(job.seconds_left) }));
  }
  const act = (what) => call("POST", `/api/jobs/${job.id}/${what}`).then(refresh, (error) => tell(error.message));
  if (ACTIVE.includes(job.status)) item.append(make("button", { textContent: "Cancel", ariaLabel: `Cancel ${job.name}`, onclick: () => act("cancel") }));
  if (job.message) item.append(make("p", { textContent: job.message }));
  return item;
}

async function refresh() {
  try {
    const list = await call("GET", "/api/jobs?limit=20");
    const focused = document.activeElement?.ariaLabel;
    jobs.replaceChildren(...(list.length ? list.map(row) : [make("li", { textContent: "None." })]));
    if (focused) [...jobs.querySelectorAll("button")].find((button) => button.ariaLabel === focused)?.focus();
    const active = new Set(list.filter((job) => ACTIVE.includes(job.status)).map((job) => job.id));
    const ended = [...wereActive].some((id) => list.find((job) => job.id === id)?.status === "finished");
    wereActive = active;
    if (ended) location.reload(); // something new stands in the lists above
  } catch (error) {
    tell(error.message);
  }
}

const form = document.getElementById("importing");
const drop = document.getElementById("drop");
const input = document.getElementById("files");
const field = (id) => document.getElementById(id);

for (const kind of ["dragover", "dragleave", "drop"]) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop") {
      input.files = event.dataTransfer.files;
      field("sent").textContent = `${input.files.length} files chosen`;
    }
  });
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const refused = field("refused");
  const button = form.querySelector("button");
  const note = (file, reason) => refused.append(make("li", { textContent: `${file}: ${reason}` }));
  refused.replaceChildren();
  tell("");
  button.disabled = true;
  try {
    if (!input.files.length) throw new Error("Choose photographs or a zip first.");
    const { upload } = await call("POST", "/api/uploads");
    let taken = 0;
    for (const [number, file] of [...input.files].entries()) {
      field("sent").textContent = `Sending ${number + 1} of ${input.files.length}: ${file.name}`;
      const species = field("species").value.trim();
      const query = new URLSearchParams(species ? { name: file.name, species } : { name: file.name });
      try {
        const answer = await call("PUT", `/api/uploads/${upload}/files?${query}`, file);
        taken += answer.num_taken;
        for (const item of answer.refused) note(item.file, `${item.reason}. ${item.mend}`);
      } catch (error) {
        note(file.name, error.message);
      }
    }
    field("sent").textContent = `${taken} images sent`;
    if (!taken) {
      await call("DELETE", `/api/uploads/${upload}`);
      throw new Error("No image could be used; the reasons stand below the form.");
    }
    await call("POST", "/api/jobs", { kind: "import", name: field("name").value, upload });
    await refresh();
  } catch (error) {
    tell(error.message);
  } finally {
    button.disabled = false;
  }
});

refresh();
setInterval(refresh, 2000);
