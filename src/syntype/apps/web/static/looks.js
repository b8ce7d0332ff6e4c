// A computation that a page waits for: begin it, show how far it is, and put its result in its place when it is there.
import { fill, howFar, left } from "./jobs.js";
import { refreshPart } from "./patch.js";
import { byId, call, oneAtATime, tell } from "./studio.js";
import { t } from "./texts.js";

const alone = oneAtATime();

async function watch(place) {
  const address = `/api/collections/${place.dataset.name}/looks/${place.dataset.kind}`;
  const state = await call("GET", address).catch((error) => ({ status: "running", doing: error.message }));
  if (state.status !== "running") {
    await refreshPart("view").then(prepare, (error) => tell(error.message));
    return;
  }
  byId("begin").hidden = true;
  byId("far").hidden = false;
  byId("doing").textContent = `${howFar(state.doing ?? t("Starting"), state)}${left(state.seconds_left)}`;
  fill(byId("far"), state);
  setTimeout(() => watch(place), 1000);
}

function prepare() {
  if (byId("map")) import("./map.js");
  const place = byId("computed");
  if (!place) return;
  byId("begin").addEventListener("click", () =>
    alone(async () => {
      await call("POST", `/api/collections/${place.dataset.name}/looks/${place.dataset.kind}`);
      watch(place);
    }),
  );
  if (place.dataset.status === "running") watch(place);
}

prepare();
