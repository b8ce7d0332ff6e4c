import { offerUndo } from "/static/dialogs.js";
import { ACTIVE, act, fill, words } from "/static/jobs.js";
import { patch, refreshLists } from "/static/patch.js";
import { byId, call, make, onSubmit, tell } from "/static/studio.js";
import { send } from "/static/upload.js";

const INTERVAL = 2000;
let known = null; // jobs that had finished at the last look

function row(job) {
  const item = make("li", {}, make("a", { href: `/jobs/${job.id}`, textContent: `${job.kind}: ${job.title}` }), make("span", { textContent: words(job) }));
  if (job.status === "running") {
    const bar = make("progress", { ariaLabel: `Progress of ${job.title}` });
    fill(bar, job);
    item.append(bar);
  }
  const cancel = () => act(job, "cancel").then(refresh);
  if (ACTIVE.includes(job.status)) item.append(make("button", { className: "second", textContent: "Cancel", ariaLabel: `Cancel ${job.title}`, onclick: cancel }));
  if (job.message) item.append(make("p", { textContent: job.message }));
  return item;
}

// Running and waiting jobs in the order of the queue, then ended jobs, latest first. What has come of them appears in the lists; the page stays.
async function refresh() {
  try {
    const list = await call("GET", "/api/jobs?limit=20");
    const active = list.filter((job) => ACTIVE.includes(job.status)).reverse();
    const ended = list.filter((job) => !ACTIVE.includes(job.status)).slice(0, 8);
    patch(byId("jobs"), list.length ? [...active, ...ended].map(row) : [make("li", { textContent: "None." })]);
    const now = new Set(list.filter((job) => !ACTIVE.includes(job.status)).map((job) => job.id));
    const before = known;
    known = now;
    const late = (job) => job.ended && 1000 * job.ended > performance.timeOrigin - 10_000; // perhaps since the page was made
    if (before ? [...now].some((id) => !before.has(id)) : list.some(late)) await refreshLists();
  } catch (error) {
    tell(error.message);
  }
}

onSubmit(byId("importing"), async () => {
  const upload = await send(byId("species").value.trim());
  location.assign(`/uploads/${upload}?${new URLSearchParams({ name: byId("name").value })}`);
});
byId("waiting").addEventListener("click", async (event) => {
  const upload = event.target.dataset.discard;
  if (!upload) return;
  event.target.disabled = true;
  try {
    const entry = await call("DELETE", `/api/storage/uploads/${upload}`);
    offerUndo(byId("deleted"), entry, () => refreshLists());
    tell("");
  } catch (error) {
    tell(error.message);
  }
  await refreshLists().catch((error) => tell(error.message));
});

async function watch() {
  await refresh();
  setTimeout(watch, INTERVAL);
}
watch();
