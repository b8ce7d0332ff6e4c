// Lists that change while one looks at them: only what has changed is replaced, so that focus, choices and what was typed stay.
import { t } from "./texts.js";

const shown = new WeakMap(); // of each entry that the server made, its HTML as it came: scripts and people may have changed it since

const keyOf = (entry) => entry.dataset.key ?? entry.querySelector("a[href]")?.getAttribute("href") ?? entry.textContent;
const listOf = (part) => part.querySelector("ul, ol");
const remember = (list) => [...list.children].forEach((entry) => shown.set(entry, entry.outerHTML));

// Give a list these entries, each of which stays the same element while it says the same.
export function patch(list, entries) {
  const known = new Map([...list.children].map((entry) => [keyOf(entry), entry]));
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  const at = focused ? [...list.children].findIndex((entry) => entry.contains(focused)) : -1;
  const place = focused && { key: keyOf(list.children[at]), name: focused.ariaLabel ?? focused.textContent };
  const wanted = entries.map((entry) => {
    const old = known.get(keyOf(entry));
    const html = entry.outerHTML;
    if (old && shown.get(old) === html) return old;
    shown.set(entry, html);
    return entry;
  });
  const staying = new Set(wanted);
  for (const entry of [...list.children]) if (!staying.has(entry)) entry.remove();
  wanted.forEach((entry, at) => list.children[at] !== entry && list.insertBefore(entry, list.children[at] ?? null));
  if (!place || document.activeElement === focused) return;
  const again = [...list.children].find((entry) => keyOf(entry) === place.key) ?? list.children[Math.min(at, list.childElementCount - 1)]; // or what is there now
  const same = again && [...again.querySelectorAll("a, button, input, select")].find((part) => (part.ariaLabel ?? part.textContent) === place.name);
  (same ?? again?.querySelector("a, button"))?.focus();
}

// This page as the server has it now; null if it has none.
async function pageNow() {
  const answer = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" } });
  return answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
}

// One part of this page as the server has it now, whole.
export async function refreshPart(id) {
  const now = (await pageNow())?.getElementById(id);
  if (!now) throw new Error(t("The page cannot be read again. It may have been deleted or renamed: reload the page."));
  document.getElementById(id).replaceWith(document.adoptNode(now));
}

// The lists of this page as the server has them now: the parts marked data-live, and in them the lists, entry by entry.
export async function refreshLists() {
  const fresh = await pageNow();
  if (!fresh) return;
  for (const part of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(part.id);
    const [list, other] = [listOf(part), now && listOf(now)];
    if (!now) continue;
    if (list && other) patch(list, [...other.children].map((entry) => document.adoptNode(entry)));
    else if (shown.get(part) !== now.outerHTML) {
      shown.set(part, now.outerHTML);
      part.replaceChildren(...[...now.childNodes].map((node) => document.adoptNode(node)));
      if (other) remember(other);
    }
    part.hidden = now.hidden;
  }
}

for (const part of document.querySelectorAll("[data-live]")) {
  shown.set(part, part.outerHTML);
  if (listOf(part)) remember(listOf(part));
}
