// The key of a server that asks for one: kept for this tab only, and asked for when a request is refused.
import {button, make} from "./dom.js";

const NAME = "sightline-key";
let asking = null;

export const key = () => sessionStorage.getItem(NAME);

export const authorization = () => (key() ? {Authorization: `Bearer ${key()}`} : {});

const refused = () => (key() ? "The server does not know this key, or no longer." : "This server asks for a key. It stays in this tab.");

// One dialog, however many requests were refused at once. Gives whether there is a key to try now.
export function askForKey(why = refused()) {
  asking ||= ask(why).finally(() => { asking = null; });
  return asking;
}

function ask(why) {
  const input = make("input", {type: "password", required: true, autocomplete: "off", name: "key"});
  const dialog = make("dialog", {class: "ask", "aria-label": "Key"}, make("form", {method: "dialog"},
    make("h2", {}, "Key"), make("p", {}, why), make("label", {class: "field"}, make("span", {class: "label"}, "Key"), input),
    make("div", {class: "actions"}, button("Cancel", () => dialog.close()), make("button", {class: "primary", value: "yes"}, "Continue"))));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => {
    dialog.remove();
    const given = dialog.returnValue === "yes" && input.value.trim();
    if (given) sessionStorage.setItem(NAME, given);
    resolve(Boolean(given));
  }));
}
