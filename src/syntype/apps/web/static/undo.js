// After something was deleted on its own page: say so on the first page, and offer to take it back.
import { byId, call, tell } from "./studio.js";
import { offerUndo, pageOf } from "./dialogs.js";

const deleted = new URLSearchParams(location.search).get("deleted");
if (deleted) {
  history.replaceState(null, "", location.pathname); // a reload later says nothing of it
  call("GET", "/api/trash")
    .then((trash) => {
      const entry = trash.find((item) => item.id === deleted);
      if (entry) offerUndo(byId("deleted"), entry, (thing) => location.assign(pageOf(thing) ?? "/storage"));
    })
    .catch((error) => tell(error.message));
}
