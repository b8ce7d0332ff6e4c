// Who has an account: a table that is filled again after every change, and the link of an invitation, which is shown once.
import { ask } from "/static/dialogs.js";
import { byId, call, make, onSubmit, tell } from "/static/studio.js";

const ROLES = ["owner", "reviewer", "guest"];
const paragraph = (textContent) => make("p", { textContent });
const day = (seconds) => new Date(1000 * seconds).toLocaleDateString([], { dateStyle: "medium" });
const time = (seconds) => new Date(1000 * seconds).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });

// What a link is for; the person gets it from whoever made it.
function showLink(made) {
  const { person } = made;
  byId("made-title").textContent = `The link for ${person.name}`;
  byId("made-told").textContent = `Send it to ${person.name}, and to nobody else. It is shown only now, works once, and expires on ${time(person.link_until)}.`;
  byId("made-judged").textContent = `There are verdicts of a ${person.name} already. They count as this person's. If it is somebody else, remove the account and invite under another name.`;
  byId("made-judged").hidden = !made.has_judged;
  byId("link").value = made.link;
  byId("code").src = URL.createObjectURL(new Blob([made.code], { type: "image/svg+xml" }));
  byId("copy").textContent = "Copy";
  byId("made").hidden = false;
  byId("made-title").focus();
}

function button(words, person, className, action) {
  const made = make("button", { type: "button", className, textContent: words, ariaLabel: `${words}: ${person.name}` });
  made.addEventListener("click", async () => {
    tell("");
    try {
      await action();
      await refresh();
    } catch (error) {
      tell(error.message);
    }
  });
  return made;
}

function roleOf(person) {
  const select = make("select", { ariaLabel: `Role of ${person.name}` }, ...ROLES.map((role) => make("option", { value: role, textContent: role, selected: role === person.role })));
  select.addEventListener("change", async () => {
    const words = [paragraph(`${person.name} becomes ${select.value === "owner" ? "an" : "a"} ${select.value}, is signed out everywhere, and signs in again with the same password.`)];
    await ask(`Change the role of ${person.name}?`, words, "Change the role", () => call("POST", `/api/people/${person.id}/role`, { role: select.value }));
    await refresh().catch((error) => tell(error.message));
  });
  return select;
}

function state(person) {
  if (person.joined) return person.seen ? time(person.seen) : "";
  return person.link_until * 1000 > Date.now() ? `invited until ${day(person.link_until)}` : "the link has expired";
}

function row(person) {
  const { id, name } = person;
  const newLink = async () => {
    const words = paragraph(person.joined ? "With it the person chooses another password, once, within 7 days. Until then the old one stays." : "The link before is of no use any more. The new one works once, within 7 days.");
    const made = await ask(`A new link for ${name}?`, [words], "Make the link", () => call("POST", `/api/people/${id}/link`, { days: 7 }));
    if (made) showLink(made);
  };
  const remove = () => ask(`Remove ${name}?`, [paragraph(`${name} is signed out at once and cannot sign in any more. All verdicts stay, under this name.`)], "Remove", () => call("DELETE", `/api/people/${id}`), true);
  const out = () => ask(`Sign ${name} out?`, [paragraph("Everywhere, at once. The password stays.")], "Sign out", () => call("DELETE", `/api/people/${id}/sessions`));
  const buttons = [button("New link", person, "second", newLink), ...(person.sessions ? [button("Sign out", person, "second", out)] : []), button("Remove", person, "no", remove)];
  const cells = [make("td", {}, roleOf(person)), make("td", { textContent: state(person) }), make("td", { className: "more", textContent: person.sessions || "no" }), make("td", {}, make("span", { className: "row" }, ...buttons))];
  return make("tr", {}, make("th", { scope: "row", textContent: person.you ? `${name} (you)` : name }), ...cells);
}

async function refresh() {
  const people = await call("GET", "/api/people");
  byId("people").replaceChildren(...people.map(row));
  byId("people").closest(".wide").hidden = !people.length;
  byId("nobody").hidden = people.length > 0;
}

onSubmit(byId("inviting"), async () => {
  const form = byId("inviting");
  const made = await call("POST", "/api/people", { name: byId("name").value, role: form.elements.role.value, days: Number(byId("days").value) });
  form.reset();
  await refresh();
  showLink(made);
});
byId("copy").addEventListener("click", async () => {
  byId("link").select();
  try {
    await navigator.clipboard.writeText(byId("link").value);
    byId("copy").textContent = "Copied";
  } catch {
    byId("copy").textContent = "Copy it with Ctrl+C";
  }
});
refresh().catch((error) => tell(error.message));
