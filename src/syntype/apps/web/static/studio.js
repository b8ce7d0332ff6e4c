// Shared by all pages: requests to the REST API, and one place that shows errors.
import { t } from "./texts.js";

let session = null;

export const byId = (id) => document.getElementById(id);

// The session's header value; asked for once a page.
export async function csrf() {
  session ??= fetch("/api/session").then((answer) => answer.json());
  return (await session).csrf ?? "";
}

// Forms are disabled until the page's scripts run: before that the browser would only reload the page.
document.addEventListener("DOMContentLoaded", () => {
  for (const button of document.querySelectorAll("[data-wait]")) button.disabled = false;
});

export function tell(message) {
  const place = byId("problem");
  place.textContent = message;
  place.hidden = !message;
}

// One action at a time: calls made while it runs are dropped.
export function oneAtATime() {
  let busy = false;
  return async (action) => {
    if (busy) return;
    busy = true;
    try {
      await action();
      tell("");
    } catch (error) {
      tell(error.message);
    } finally {
      busy = false;
    }
  };
}

// Run an action when a form is sent, and show its error.
export function onSubmit(form, action) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("[data-wait]");
    button.disabled = true;
    tell("");
    try {
      await action();
    } catch (error) {
      tell(error.message);
      byId("problem").scrollIntoView({ block: "nearest" });
    } finally {
      button.disabled = false;
    }
  });
}

// The reviewer: returns a function that gives the name in the form. The name is stored for the next page when the form is sent; a name typed before this script ran is kept.
export function reviewerName() {
  const field = byId("reviewer");
  const name = () => field.value.trim();
  field.value ||= localStorage.getItem("reviewer") ?? "";
  if (!field.readOnly) field.form.addEventListener("submit", () => localStorage.setItem("reviewer", name())); // an account has its own
  return name;
}

// The session has ended: sign in again, and come back to this page.
export function signInAgain() {
  location.assign(`/signin?${new URLSearchParams({ ended: "yes", to: location.pathname + location.search })}`);
}

// Send a request; the answer's JSON, or an Error with the server's own words. `more`: further options of fetch.
export async function call(method, path, body, more = {}) {
  const options = { ...more, method, headers: {} };
  if (method !== "GET") options.headers["X-Syntype-Csrf"] = await csrf();
  if (body instanceof Blob) {
    options.body = body;
  } else if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error(t("The server does not answer. Check that it runs; nothing that was saved is lost."));
  }
  if (answer.status === 401) signInAgain();
  const value = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw Object.assign(new Error(value.error), { taken: value.taken });
  return value;
}

// An element with properties and children; text is never read as HTML.
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// The address of an image's small picture, named by its content so that the browser keeps it.
export function thumbnail(collection, image, side) {
  const query = new URLSearchParams({ side, ...(image.sha256 && { version: image.sha256 }) });
  return `/api/collections/${collection}/images/${encodeURIComponent(image.image_id)}/thumbnail?${query}`;
}
