// New photographs become a collection before a generator learns from them.
import { ACTIVE, words } from "./jobs.js";
import { before } from "./new.js";
import { byId, call, make, tell } from "./studio.js";
import { send } from "./upload.js";
import { t } from "./texts.js";

const LEAST = 6;
const collection = byId("collection");
const species = byId("of");

// Of a collection only its species can be learnt; new photographs may show any.
async function offer() {
  const query = new URLSearchParams({ query: species.value, limit: 50 });
  const found = collection.value ? await call("GET", `/api/collections/${collection.value}/species?${query}`) : [];
  byId("of-found").replaceChildren(...found.map((item) => make("option", { value: item.species, label: `${item.species} (${item.num_images})` })));
}
function change() {
  byId("new-photographs").hidden = collection.value !== "";
  offer().catch((error) => tell(error.message));
}
collection.addEventListener("change", change);
species.addEventListener("input", () => offer().catch((error) => tell(error.message)));
change();

async function ended(number) {
  for (;;) {
    const job = await call("GET", `/api/jobs/${number}`);
    if (!ACTIVE.includes(job.status)) return job;
    byId("sent").textContent = t("Importing the photographs: {progress}", { progress: words(job) });
    await new Promise((resume) => setTimeout(resume, 500));
  }
}

before(async (request) => {
  if (request.collection) return;
  const known = await call("GET", `/api/generators/${request.generator}/species?${new URLSearchParams({ query: request.species, limit: 10_000 })}`);
  if (known.includes(request.species)) throw new Error(t("The generator knows {species} already: generate images of it directly.", { species: request.species }));
  const upload = await send(request.species, LEAST);
  request.collection = `${request.name.slice(0, 50)}-photographs`;
  const asked = call("POST", "/api/jobs", { kind: "import", name: request.collection, upload, species: request.species }); // whatever their folders say
  await asked.catch(() => call("DELETE", `/api/uploads/${upload}`).catch(() => {}));
  const job = await ended((await asked).id);
  if (job.status !== "finished") throw new Error(t("The photographs could not be imported: {why}", { why: job.message ?? words(job) }));
  request.species = (await call("GET", `/api/collections/${request.collection}/species`))[0].species; // as it is spelt there
  collection.append(make("option", { value: request.collection, textContent: request.collection, selected: true })); // not again, should the rest be refused
  change();
});
