import { byId, call, onSubmit } from "/static/studio.js";

onSubmit(byId("signin"), async () => {
  await call("POST", "/api/session", { token: byId("token").value });
  location.assign("/");
});
