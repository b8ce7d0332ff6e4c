import { ACTIVE, act, fill, words } from "/static/jobs.js";
import { byId, call, make, onSubmit, tell } from "/static/studio.js";
import { send } from "/static/upload.js";

let wereActive = new Set();

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

// Running and waiting jobs in the order of the queue, then ended jobs, latest first.
async function refresh() {
  try {
    const list = await call("GET", "/api/jobs?limit=20");
    const active = list.filter((job) => ACTIVE.includes(job.status)).reverse();
    const ended = list.filter((job) => !ACTIVE.includes(job.status)).slice(0, 8);
    const focused = document.activeElement?.ariaLabel;
    byId("jobs").replaceChildren(...(list.length ? [...active, ...ended].map(row) : [make("li", { textContent: "None." })]));
    if (focused) [...byId("jobs").querySelectorAll("button")].find((button) => button.ariaLabel === focused)?.focus();
    const made = ended.some((job) => wereActive.has(job.id) && job.status === "finished");
    wereActive = new Set(active.map((job) => job.id));
    if (made) location.reload(); // something new stands in the lists above
  } catch (error) {
    tell(error.message);
  }
}

onSubmit(byId("importing"), async () => {
  const upload = await send(byId("species").value.trim());
  location.assign(`/uploads/${upload}?${new URLSearchParams({ name: byId("name").value })}`);
});

refresh();
setInterval(refresh, 2000);
