import { byId, call, tell } from "/static/studio.js";

byId("signin").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await call("POST", "/api/session", { token: byId("token").value });
    location.assign("/");
  } catch (error) {
    tell(error.message);
  }
});
