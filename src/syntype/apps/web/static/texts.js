// Texts in the language of the page. The server puts them before the scripts as globalThis.texts; without it they stay English.

export const language = document.documentElement.lang || "en";
export const number = (value) => value.toLocaleString(language);
export const decimal = (value, digits) => value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits ?? 6 });

const known = globalThis.texts;
const written = (value) => (typeof value === "number" ? number(value) : String(value));

// Put values where the text has their names in braces; numbers are written as the language does.
const filled = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? written(values[name]) : whole));

// What the catalogue has: of a text that stands there with a number, the form for one.
const found = (message) => [known?.of[message] ?? message].flat()[Array.isArray(known?.of[message]) ? known.form(1) : 0];

// A text; of one with a number, which {n} stands for, the form that belongs to it.
export const t = (message, values = {}) => filled(found(message), values);
export function tn(one, many, n, values = {}) {
  const forms = known?.of[one];
  return filled((forms && forms[known.form(n)]) || (n === 1 ? one : many), { n, ...values });
}

// A text as parts of an element: values may be elements.
export function tparts(message, values) {
  const pieces = found(message).split(/\{(\w+)\}/);
  return pieces.map((piece, at) => (at % 2 ? (typeof values[piece] === "number" ? number(values[piece]) : values[piece]) : piece));
}
