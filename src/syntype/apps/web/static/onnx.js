// An identifier as ONNX: its writing is begun here, how long it takes is told, and the file is offered at the end.
import { byId, call, make, tell } from "./studio.js";
import { t } from "./texts.js";

const button = byId("onnx");
const told = byId("onnx-told");
const { identifier } = button.dataset;
const address = `/api/identifiers/${identifier}/onnx`;

function show(state) {
  button.hidden = state.status === "running" || state.status === "finished";
  if (state.status === "running") {
    told.textContent = t("Being written: {seconds} s so far. It takes one to two minutes; the other pages work meanwhile.", { seconds: state.seconds });
    setTimeout(look, 2000);
  } else if (state.status === "finished") {
    told.replaceChildren(make("a", { className: "button second", href: `/api/identifiers/${identifier}/file?form=onnx`, textContent: t("Download as ONNX") }));
  } else told.textContent = state.message ?? "";
}

async function ask(method) {
  try {
    show(await call(method, address));
    tell("");
  } catch (error) {
    tell(error.message);
  }
}
const look = () => ask("GET");

button.addEventListener("click", () => ask("POST"));
look();
