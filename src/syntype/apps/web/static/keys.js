// Pages that are worked by keys: a letter or digit does the same wherever the focus is, but where one writes.

// Keys and what they do. In a list of choices letters do it too, instead of choosing what begins with the letter.
export function onKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || (/^(INPUT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "range")) return;
    const digit = /^(?:Digit|Numpad)([0-9])$/.exec(event.code)?.[1]; // on some keyboards digits need the shift key
    const act = actions[event.shiftKey && event.key.startsWith("Arrow") ? `Shift+${event.key}` : event.key] ?? actions[digit];
    if (!act || (event.key === "Enter" && /^(BUTTON|A|SELECT|SUMMARY)$/.test(event.target.tagName))) return;
    if (event.key.startsWith("Arrow") && event.target.tagName === "SELECT") return;
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
