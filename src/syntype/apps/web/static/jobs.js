// What the queue and the page of a job share.
import { call, tell } from "./studio.js";
import { decimal, t } from "./texts.js";

export const ACTIVE = ["waiting", "running"];

// The time left in words; nothing where it is not known.
export function left(seconds) {
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 90) return t(", about {seconds} s left", { seconds: Math.ceil(seconds) });
  return seconds < 5400 ? t(", about {minutes} min left", { minutes: Math.round(seconds / 60) }) : t(", about {hours} h left", { hours: decimal(seconds / 3600, 1) });
}

const ENDED = { finished: t("finished"), failed: t("failed"), cancelled: t("cancelled") };

// What is done, and how much of it.
export const howFar = (doing, { done, total }) => (total ? t("{doing}: {done} of {total}", { doing, done: Math.round(done), total: Math.round(total) }) : doing);

// How far a job is, in words.
export function words(job) {
  if (job.status === "waiting") return job.ahead ? t("waiting, {ahead} before it", { ahead: job.ahead }) : t("waiting, next");
  if (job.status !== "running") return ENDED[job.status];
  return `${howFar(job.doing ?? t("starting"), job)}${left(job.seconds_left)}`;
}

// Set a progress bar; indeterminate without a known total.
export function fill(bar, job) {
  if (job.total) Object.assign(bar, { max: job.total, value: Math.min(job.done, job.total) });
  else bar.removeAttribute("value");
}

// Cancel or resume.
export const act = (job, what) => call("POST", `/api/jobs/${job.id}/${what}`).catch((error) => tell(error.message));
