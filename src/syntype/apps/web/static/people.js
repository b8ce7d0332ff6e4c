// Who has an account: a table that is filled again after every change, and the link of an invitation, which is shown once.
import { ask } from "./dialogs.js";
import { byId, call, make, onSubmit, tell } from "./studio.js";
import { language, t } from "./texts.js";

const ROLES = { owner: t("owner"), reviewer: t("reviewer"), guest: t("guest") };
const paragraph = (textContent) => make("p", { textContent });
const day = (seconds) => new Date(1000 * seconds).toLocaleDateString(language, { dateStyle: "medium" });
const time = (seconds) => new Date(1000 * seconds).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });

// The link of a person, who gets it from whoever made it.
function showLink({ person, link, code, has_judged: hasJudged }) {
  const { name } = person;
  byId("made-title").textContent = t("The link for {name}", { name });
  byId("made-told").textContent = t("Send it to {name}, and to nobody else. It is shown only now, works once, and expires on {time}.", { name, time: time(person.link_until) });
  byId("made-judged").textContent = t("There are verdicts under the name {name} already. They count as this person's. If it is somebody else, remove the account and invite under another name.", { name });
  byId("made-judged").hidden = !hasJudged;
  byId("link").value = link;
  byId("code").src = URL.createObjectURL(new Blob([code], { type: "image/svg+xml" }));
  byId("copy").textContent = t("Copy");
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

function roleOf({ id, name, role }) {
  const choices = Object.entries(ROLES).map(([value, textContent]) => make("option", { value, textContent, selected: value === role }));
  const select = make("select", { ariaLabel: t("Role of {name}", { name }) }, ...choices);
  select.addEventListener("change", async () => {
    const words = t("The new role is: {role}. {name} is signed out everywhere, and signs in again with the same password.", { name, role: ROLES[select.value] });
    await ask(t("Change the role of {name}?", { name }), [paragraph(words)], t("Change the role"), () => call("POST", `/api/people/${id}/role`, { role: select.value }));
    await refresh().catch((error) => tell(error.message));
  });
  return select;
}

function lastSeen(person) {
  if (person.joined) return time(person.seen);
  return person.link_until * 1000 > Date.now() ? t("invited until {day}", { day: day(person.link_until) }) : t("the link has expired");
}

function row(person) {
  const { id, name } = person;
  const newLink = async () => {
    const words = person.joined
      ? t("With it the person chooses another password, once, within 7 days. Until then the old one stays.")
      : t("The link before is of no use any more. The new one works once, within 7 days.");
    const made = await ask(t("A new link for {name}?", { name }), [paragraph(words)], t("Make the link"), () => call("POST", `/api/people/${id}/link`, { days: 7 }));
    if (made) showLink(made);
  };
  const out = () => ask(t("Sign {name} out?", { name }), [paragraph(t("Everywhere, at once. The password stays."))], t("Sign out"), () => call("DELETE", `/api/people/${id}/sessions`));
  const remove = () => {
    const words = t("{name} is signed out at once and cannot sign in any more. All verdicts stay, under this name.", { name });
    return ask(t("Remove {name}?", { name }), [paragraph(words)], t("Remove"), () => call("DELETE", `/api/people/${id}`), true);
  };
  const buttons = [button(t("New link"), person, "second", newLink), ...(person.sessions ? [button(t("Sign out"), person, "second", out)] : []), button(t("Remove"), person, "no", remove)];
  const cells = [make("td", {}, roleOf(person)), make("td", { textContent: lastSeen(person) }), make("td", { className: "more", textContent: person.sessions || t("no") })];
  const called = make("th", { scope: "row", textContent: person.you ? t("{name} (you)", { name }) : name });
  return make("tr", {}, called, ...cells, make("td", {}, make("span", { className: "row" }, ...buttons)));
}

async function refresh() {
  const people = await call("GET", "/api/people");
  byId("people").replaceChildren(...people.map(row));
  byId("people").closest(".wide").hidden = !people.length;
  byId("nobody").hidden = people.length > 0;
  if (byId("own")) byId("own").hidden = !people.some(({ joined }) => joined); // on a Studio without a token nobody is asked
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
    byId("copy").textContent = t("Copied");
  } catch {
    byId("copy").textContent = t("Copy it with Ctrl+C");
  }
});
refresh().catch((error) => tell(error.message));
