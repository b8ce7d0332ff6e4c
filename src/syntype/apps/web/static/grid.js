// A filter takes effect when it is chosen; without this script the button does the same.
const filters = document.getElementById("filters");
filters.addEventListener("change", () => filters.requestSubmit());
