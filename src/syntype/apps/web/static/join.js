// The link of an invitation: its secret part stands behind the #, which browsers send to no server and write into no log.
import { byId, call, onSubmit, tell } from "./studio.js";
import { t } from "./texts.js";

const ROLES = {
  owner: t("You are invited as an owner: you may do everything, also delete and invite. Choose the password with which you sign in from now on."),
  reviewer: t("You are invited as a reviewer: you may look and judge images. Choose the password with which you sign in from now on."),
  guest: t("You are invited as a guest: you may look, draw hybrids and take the quiz. Choose the password with which you sign in from now on."),
};
const link = location.hash.slice(1);

async function look() {
  if (!link) throw new Error(t("This link is not complete. Copy the whole of it."));
  const { name, role, joined } = await call("POST", "/api/join/look", { link });
  byId("welcome").textContent = joined ? t("Another password for {name}", { name }) : t("Welcome, {name}", { name });
  byId("invited").textContent = joined ? t("Choose the password with which you sign in from now on.") : ROLES[role];
  byId("name").value = name;
  byId("invited").hidden = byId("joining").hidden = false;
  byId("password").focus();
}

onSubmit(byId("joining"), async () => {
  await call("POST", "/api/join", { link, password: byId("password").value });
  location.replace("/"); // the link is used up: Back does not lead to it
});
look().catch((error) => {
  tell(error.message);
  byId("welcome").hidden = true;
  byId("instead").hidden = false;
});
