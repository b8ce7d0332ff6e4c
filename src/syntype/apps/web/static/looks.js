// A computation that a page waits for: begin it, show how far it is, and reload when it is there.
import { fill, left } from "/static/jobs.js";
import { byId, call, oneAtATime, tell } from "/static/studio.js";

const place = byId("computed");

async function watch() {
  const address = `/api/collections/${place.dataset.name}/looks/${place.dataset.kind}`;
  const state = await call("GET", address).catch((error) => ({ status: "running", doing: error.message }));
  if (state.status !== "running") return location.reload();
  const share = state.total ? `: ${Math.round(state.done).toLocaleString("en")} of ${Math.round(state.total).toLocaleString("en")}` : "";
  byId("begin").hidden = true;
  byId("far").hidden = false;
  byId("doing").textContent = `${state.doing ?? "Starting"}${share}${left(state.seconds_left)}`;
  fill(byId("far"), state);
  setTimeout(watch, 1000);
}

if (place) {
  const alone = oneAtATime();
  byId("begin").addEventListener("click", () =>
    alone(async () => {
      await call("POST", `/api/collections/${place.dataset.name}/looks/${place.dataset.kind}`);
      watch();
    }),
  );
  if (place.dataset.status === "running") watch();
  tell("");
}
