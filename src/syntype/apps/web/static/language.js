// The choice of the language: kept by the browser, for all pages.
const field = document.getElementById("language");
field.addEventListener("change", () => {
  document.cookie = `language=${field.value}; path=/; max-age=31536000; samesite=strict`;
  location.reload();
});
