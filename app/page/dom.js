// Elements made in code. Whatever comes from the server is set as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

// A property, an attribute where the name has a dash or is `role`, or a listener where it begins with `on`.
export function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role") made.setAttribute(name, value);
    else made[name === "class" ? "className" : name] = value;
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export function shape(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export const icon = (path) => shape("svg", {viewBox: "0 0 24 24", "aria-hidden": "true", class: "icon"}, shape("path", {d: path}));

export const button = (text, onclick, name = "plain") => make("button", {type: "button", class: name, onclick}, text);

export const field = (label, control, hint = "") =>
  make("label", {class: "field"}, make("span", {class: "label"}, label), control, hint && make("span", {class: "hint"}, hint));

export const select = (options, value, properties = {}) => {
  const made = make("select", properties, options.map(([key, text]) => new Option(text, key)));
  made.value = value;
  return made;
};

export const section = (title, ...content) => make("section", {class: "panel"}, make("h2", {}, title), ...content);

// What is wider than its place is scrolled by keys, too.
export const scrolling = (title, ...content) => make("div", {class: "scroll", tabIndex: 0, role: "region", "aria-label": title}, content);

export const number = (value) => value.toLocaleString("en");

export const several = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

export const when = (time) => new Date(time).toLocaleString([], {dateStyle: "medium", timeStyle: "short"});

// Asks before what cannot be undone; gives whether to go on.
export function confirmed(title, text, action) {
  const dialog = make("dialog", {class: "ask", "aria-label": title}, make("form", {method: "dialog"},
    make("h2", {}, title), make("p", {}, text),
    make("div", {class: "actions"}, make("button", {class: "plain", value: ""}, "Cancel"), make("button", {class: "danger", value: "yes"}, action))));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => {
    dialog.remove();
    resolve(dialog.returnValue === "yes");
  }));
}
