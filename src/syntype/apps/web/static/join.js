// The link of an invitation: its secret part stands behind the #, which browsers send to no server and write into no log.
import { byId, call, onSubmit, tell } from "/static/studio.js";

const ROLES = { owner: "You may do everything, also delete and invite.", reviewer: "You may look and judge images.", guest: "You may look, draw hybrids and take the quiz." };
const link = location.hash.slice(1);

async function look() {
  if (!link) throw new Error("This link is not complete. Copy the whole of it.");
  const person = await call("POST", "/api/join/look", { link });
  byId("welcome").textContent = person.joined ? `Another password for ${person.name}` : `Welcome, ${person.name}`;
  byId("invited").textContent = person.joined ? "Choose the password with which you sign in from now on." : `You are invited to this Studio. ${ROLES[person.role]} Choose the password with which you sign in from now on.`;
  byId("name").value = person.name;
  byId("invited").hidden = byId("joining").hidden = false;
  byId("password").focus();
}

onSubmit(byId("joining"), async () => {
  await call("POST", "/api/join", { link, password: byId("password").value });
  location.replace("/"); // the link is used up: Back does not lead to it
});
look().catch((error) => tell(error.message));
