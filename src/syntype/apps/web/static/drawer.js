// The list of jobs, which opens on any page. When a job ends, the lists of the page behind are brought up to date; no page is loaded again.
import { ACTIVE, act, fill, words } from "./jobs.js";
import { patch, refreshLists } from "./patch.js";
import { byId, call, make, tell } from "./studio.js";
import { t, tn } from "./texts.js";

const INTERVAL = 2000;
const ENDED = 8; // jobs that have ended, of which the drawer tells
const drawer = byId("drawer");
const button = byId("jobs-button");
const notify = byId("notify");
let latest = []; // jobs at the last look
let known = null; // jobs that had ended at the last look

function row(job) {
  const item = make("li", {}, make("a", { href: `/jobs/${job.id}`, textContent: `${job.work}: ${job.title}` }), make("span", { textContent: words(job) }));
  if (job.status === "running") {
    const bar = make("progress", { ariaLabel: t("Progress of {title}", { title: job.title }) });
    fill(bar, job);
    item.append(bar);
  }
  const cancel = () => act(job, "cancel").then(refresh);
  if (ACTIVE.includes(job.status)) item.append(make("button", { type: "button", className: "second", textContent: t("Cancel"), ariaLabel: t("Cancel {title}", { title: job.title }), onclick: cancel }));
  if (job.outcome ?? job.message) item.append(make("p", { textContent: job.outcome ?? job.message }));
  return item;
}

function count(active) {
  const running = active.filter((job) => job.status === "running").length;
  const waiting = active.length - running;
  const parts = [...(running ? [tn("{n} running", "{n} running", running)] : []), ...(waiting ? [tn("{n} waiting", "{n} waiting", waiting)] : [])];
  button.textContent = parts.length ? t("Jobs ({parts})", { parts: parts.join(", ") }) : t("Jobs");
}

// Asked for by the person who uses the page, never on its own.
const wanted = () => "Notification" in window && Notification.permission === "granted" && localStorage.getItem("notify") === "yes";
function offer() {
  notify.hidden = !("Notification" in window) || Notification.permission === "denied";
  notify.textContent = wanted() ? t("Do not tell me when a job ends") : t("Tell me when a job ends");
}
notify.addEventListener("click", async () => {
  if (wanted()) localStorage.removeItem("notify");
  else if ((await Notification.requestPermission()) === "granted") localStorage.setItem("notify", "yes");
  offer();
});

function tellJobs() {
  const none = t("None yet. What takes longer than a moment runs as a job: imports, trainings, new images, studies, exports.");
  patch(byId("jobs"), latest.length ? latest.map(row) : [make("li", { textContent: none })]);
}

function open() {
  drawer.showModal();
  if (known) tellJobs(); // or at the first look, which is on its way
}

// Running and waiting jobs in the order of the queue, then ended jobs, latest first.
async function refresh() {
  const list = await call("GET", "/api/jobs?limit=20");
  const active = list.filter((job) => ACTIVE.includes(job.status)).reverse();
  const ended = list.filter((job) => !ACTIVE.includes(job.status));
  count(active);
  latest = [...active, ...ended.slice(0, ENDED)];
  if (drawer.open) tellJobs();
  const before = known;
  known = new Set(ended.map((job) => job.id));
  const late = (job) => job.ended && 1000 * job.ended > performance.timeOrigin - 10_000; // perhaps since the page was made
  const fresh = ended.filter((job) => (before ? !before.has(job.id) : late(job)));
  if (!fresh.length) return;
  if (before && wanted()) for (const job of fresh) new Notification(`${job.work}: ${job.title}`, { body: job.outcome ?? job.message ?? words(job), tag: `job-${job.id}` });
  if (document.querySelector("[data-live]")) await refreshLists();
}

async function watch() {
  await refresh().catch((error) => drawer.open && tell(error.message));
  setTimeout(watch, INTERVAL);
}

button.addEventListener("click", open);
byId("drawer-close").addEventListener("click", () => drawer.close());
drawer.addEventListener("click", (event) => event.target === drawer && event.clientX < drawer.getBoundingClientRect().left && drawer.close()); // beside it
if (location.hash === "#jobs") open();
offer();
watch();
