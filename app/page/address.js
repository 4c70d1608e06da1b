// The state of the page as it stands in its address, so that it can be linked and gone back to.

// Names in the address; what is as here is left out.
const PLAIN = {view: ["view", "search"], collection: ["c", "default"], text: ["q", ""], item: ["item", ""], mode: ["mode", "vector"],
  varied: ["varied", ""], unique: ["unique", ""], left: ["left", ""], right: ["right", ""]};

export const blank = () => ({...Object.fromEntries(Object.entries(PLAIN).map(([field, [, value]]) => [field, value])), terms: [], filter: {}, picture: null});

export function read(search, kept) {
  const given = new URLSearchParams(search);
  const state = blank();
  for (const [field, [name, value]] of Object.entries(PLAIN)) state[field] = given.get(name) ?? value;
  state.terms = [...given.getAll("t").map((term) => readTerm(term, "text")), ...given.getAll("i").map((term) => readTerm(term, "item"))].filter(Boolean);
  state.filter = readFilter(given.get("filter"));
  state.picture = kept?.picture || null; // too long for an address
  return state;
}

export function write(state) {
  const given = new URLSearchParams();
  for (const [field, [name, value]] of Object.entries(PLAIN)) if (state[field] !== value) given.set(name, state[field]);
  for (const {text, item, weight} of state.terms) given.append(text ? "t" : "i", `${weight}:${text || item}`);
  if (Object.keys(state.filter).length) given.set("filter", JSON.stringify(state.filter));
  return given.size ? `?${given}` : location.pathname;
}

export const link = (changes) => write({...blank(), ...changes});

// What is searched for: terms as the API takes them; none when the collection is only looked through.
export const queryOf = ({text, item, picture, terms}) => [picture && {image: picture}, item && {item}, text && {text}, ...terms].filter(Boolean);

function readTerm(written, kind) {
  const [, weight, value] = /^(-?[\d.]+):(.+)$/s.exec(written) || [];
  return Number(weight) ? {[kind]: value, weight: Number(weight)} : null;
}

function readFilter(written) {
  try {
    const filter = JSON.parse(written || "{}");
    return filter && typeof filter === "object" && !Array.isArray(filter) ? filter : {};
  } catch {
    return {};
  }
}
