// Pages that are worked by keys: a letter does the same wherever the focus is, but where one writes.

// Letters and what they do. In a list of choices they do it too, instead of choosing what begins with the letter.
export function onKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || (/^(INPUT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "range")) return;
    const act = actions[event.key];
    if (!act || (event.key === "Enter" && /^(BUTTON|A|SELECT|SUMMARY)$/.test(event.target.tagName))) return;
    if (act() !== false) event.preventDefault();
  });
}

// A button for what a key does too. One that was clicked with the mouse does not keep the focus: Enter would press it again, for the next picture.
export function onPress(button, action) {
  button.addEventListener("click", (event) => {
    if (event.detail) button.blur();
    action();
  });
}
