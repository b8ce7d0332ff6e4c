// New photographs become a collection before a generator learns from them.
import { ACTIVE, words } from "/static/jobs.js";
import { before } from "/static/new.js";
import { byId, call, make } from "/static/studio.js";
import { send } from "/static/upload.js";

const LEAST = 6;
const collection = byId("collection");
const change = () => (byId("new-photographs").hidden = collection.value !== "");
collection.addEventListener("change", change);
change();

async function ended(number) {
  for (;;) {
    const job = await call("GET", `/api/jobs/${number}`);
    if (!ACTIVE.includes(job.status)) return job;
    byId("sent").textContent = `Importing the photographs: ${words(job)}`;
    await new Promise((resume) => setTimeout(resume, 500));
  }
}

before(async (request) => {
  if (request.collection) return;
  const upload = await send(request.species, LEAST);
  [request.species] = Object.keys((await call("GET", `/api/uploads/${upload}`)).species); // as it will be spelt
  request.collection = `${request.name.slice(0, 50)}-photographs`;
  const job = await ended((await call("POST", "/api/jobs", { kind: "import", name: request.collection, upload })).id);
  if (job.status !== "finished") throw new Error(`The photographs could not be imported: ${job.message ?? job.status}`);
  collection.append(make("option", { value: request.collection, textContent: request.collection, selected: true })); // not again, should the rest be refused
  change();
});
