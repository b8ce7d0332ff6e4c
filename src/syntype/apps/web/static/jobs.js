// What the queue and the page of a job share.
import { call, tell } from "/static/studio.js";

export const ACTIVE = ["waiting", "running"];

// The time left in words; nothing where it is not known.
export function left(seconds) {
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 90) return `, about ${Math.ceil(seconds)} s left`;
  return seconds < 5400 ? `, about ${Math.round(seconds / 60)} min left` : `, about ${(seconds / 3600).toFixed(1)} h left`;
}

// How far a job is, in words.
export function words(job) {
  if (job.status === "waiting") return job.ahead ? `waiting, ${job.ahead} before it` : "waiting, next";
  if (job.status !== "running") return job.status;
  const doing = job.doing ?? "starting";
  const share = job.total ? `: ${Math.round(job.done).toLocaleString("en")} of ${Math.round(job.total).toLocaleString("en")}` : "";
  return `${doing}${share}${left(job.seconds_left)}`;
}

// Set a progress bar; indeterminate without a known total.
export function fill(bar, job) {
  if (job.total) Object.assign(bar, { max: job.total, value: Math.min(job.done, job.total) });
  else bar.removeAttribute("value");
}

// Cancel or resume.
export const act = (job, what) => call("POST", `/api/jobs/${job.id}/${what}`).catch((error) => tell(error.message));
