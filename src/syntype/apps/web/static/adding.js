// Photographs are added to the collection of this page: sent, looked at, imported on their own, and then put into it.
import { byId, onSubmit } from "./studio.js";
import { send } from "./upload.js";

const form = byId("adding");
onSubmit(form, async () => {
  const upload = await send(byId("species").value.trim());
  location.assign(`/uploads/${upload}?${new URLSearchParams({ into: form.dataset.into })}`);
});

// "Add photographs" at the top of the page opens the form below.
const open = () => {
  if (location.hash !== "#add") return;
  byId("add").open = true;
  byId("species").focus();
};
addEventListener("hashchange", open);
open();
