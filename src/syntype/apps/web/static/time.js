// The form of what takes long says how long, before it is begun. Nothing is asked again while somebody still changes the fields.
import { byId, call } from "./studio.js";
import { values } from "./new.js";
import { t } from "./texts.js";

const REST = 400; // milliseconds
const place = byId("time");
let asked = 0;
let rest = null;

async function show() {
  const mine = ++asked;
  place.textContent = t("Working out how long it takes…");
  const told = await call("POST", "/api/plans", values()).catch(() => null); // what is wrong is told when the form is sent
  if (mine === asked) place.textContent = told?.sentence ?? "";
}

byId("new").addEventListener("input", (event) => {
  if (event.target.id === "name") return;
  clearTimeout(rest);
  rest = setTimeout(show, REST);
});
show();
