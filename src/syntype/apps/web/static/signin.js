import { call, tell } from "/static/studio.js";

document.getElementById("signin").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await call("POST", "/api/session", { token: document.getElementById("token").value });
    location.assign("/");
  } catch (error) {
    tell(error.message);
  }
});
