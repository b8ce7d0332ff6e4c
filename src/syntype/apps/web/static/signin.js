import { byId, call, onSubmit } from "/static/studio.js";

async function signIn(given) {
  await call("POST", "/api/session", given);
  location.assign("/");
}

if (byId("signin-name")) onSubmit(byId("signin-name"), () => signIn({ name: byId("name").value, password: byId("password").value }));
if (byId("signin")) onSubmit(byId("signin"), () => signIn({ token: byId("token").value }));
