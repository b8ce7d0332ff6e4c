import { byId, call, onSubmit } from "./studio.js";

// The page that was asked for before; an address that leads elsewhere is not followed.
function wanted() {
  const to = new URLSearchParams(location.search).get("to") ?? "/";
  return URL.canParse(to, location.origin) && new URL(to, location.origin).origin === location.origin ? to : "/";
}

async function signIn(given) {
  await call("POST", "/api/session", given);
  location.replace(wanted()); // Back does not lead here again
}

if (byId("signin-name")) onSubmit(byId("signin-name"), () => signIn({ name: byId("name").value, password: byId("password").value }));
if (byId("signin")) onSubmit(byId("signin"), () => signIn({ token: byId("token").value }));
