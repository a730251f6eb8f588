// Elements from values. Text only ever becomes text nodes: what a model wrote can't become markup.
const el = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === 'onclick') made.addEventListener('click', value);
    else made.setAttribute(key, value === true ? '' : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
};

const json = (id) => {
  const found = document.getElementById(id);
  return found ? JSON.parse(found.textContent) : null;
};

// The text with every occurrence of `query` (lower case) in a <mark>.
const marked = (text, query) => {
  const whole = document.createDocumentFragment();
  if (!query) { whole.append(text); return whole; }
  const lower = text.toLowerCase();
  let at = 0;
  // Lower case may differ in length for a few letters; then nothing is marked rather than wrongly.
  if (lower.length === text.length) {
    for (let next = lower.indexOf(query); next >= 0; next = lower.indexOf(query, at)) {
      whole.append(text.slice(at, next), el('mark', {}, text.slice(next, next + query.length)));
      at = next + query.length;
    }
  }
  whole.append(text.slice(at));
  return whole;
};

const INDEX = json('index') || [];
const KINDS = json('kinds') || {};
const bodies = new Map();

// An episode's transcript, parsed when it is first asked for; null where it isn't embedded.
const bodyOf = (number) => {
  if (!bodies.has(number)) bodies.set(number, json('e' + number));
  return bodies.get(number);
};
