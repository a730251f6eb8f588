// The list on the left, the reader on the right (over the whole screen where it is narrow).
const PAGE = 60;
const filters = document.getElementById('filters');
const list = document.getElementById('list');
const reader = document.getElementById('reader');
let found = [];
let listed = 0;

const line = (number) => {
  const entry = INDEX[number];
  return el('button', { class: `entry ${entry.outcome}`, type: 'button', 'data-n': number,
    'aria-current': number === state.chosen ? 'true' : null, onclick: () => open(number) },
  el('span', { class: 'light' }), el('b', {}, nameOf(entry)),
  el('span', { class: 'meta' }, `${entry.domain} · trial ${entry.trial + 1}`),
  entry.request ? el('span', { class: 'request' }, entry.request) : null,
  entry.kind ? el('span', { class: 'why' }, KINDS[entry.kind] || entry.kind) : null);
};

const more = () => {
  list.querySelector('.more')?.remove();
  list.append(...found.slice(listed, listed + PAGE).map(line));
  listed = Math.min(found.length, listed + PAGE);
  if (listed < found.length) {
    const rest = el('button', { class: 'more', type: 'button', onclick: more }, `${found.length - listed} more`);
    list.append(rest);
    watcher.observe(rest);
  }
};

const watcher = new IntersectionObserver((seen) => {
  for (const item of seen) if (item.isIntersecting) { watcher.unobserve(item.target); more(); }
}, { root: list, rootMargin: '300px' });

const refresh = () => {
  found = matching();
  listed = 0;
  list.replaceChildren();
  list.scrollTop = 0;
  if (found.length) more();
  else list.append(el('p', { class: 'empty' }, 'No transcript matches these filters.'));
  showFilters(filters, found.length);
  if (state.chosen !== null) render();
};

const render = () => reader.replaceChildren(...episode(state.chosen, close));

const address = (number) => `#${INDEX[number].domain}/${encodeURIComponent(INDEX[number].row)}/${INDEX[number].trial}`;

function open(number, quiet = false) {
  state.chosen = number;
  for (const item of list.querySelectorAll('.entry')) {
    if (Number(item.dataset.n) === number) item.setAttribute('aria-current', 'true');
    else item.removeAttribute('aria-current');
  }
  render();
  reader.scrollTop = 0;
  if (!quiet) {
    reader.classList.add('open');
    // Where the reader covers the list, the keyboard follows; beside it, the list keeps it.
    if (covers()) reader.querySelector('.back').focus();
    history.replaceState(null, '', address(number));
  }
}

const covers = () => getComputedStyle(reader).position === 'fixed';

function close() {
  const covered = covers() && reader.classList.contains('open');
  reader.classList.remove('open');
  if (covered) list.querySelector(`[data-n="${state.chosen}"]`)?.focus();
}

const step = (by) => {
  const at = found.indexOf(state.chosen);
  const next = found[Math.max(0, Math.min(found.length - 1, at + by))];
  if (next === undefined) return;
  while (found.indexOf(next) >= listed) more();
  open(next);
  const item = list.querySelector(`[data-n="${next}"]`);
  // Tab then goes on from the chosen one.
  if (list.contains(document.activeElement)) item?.focus({ preventScroll: true });
  item?.scrollIntoView({ block: 'nearest' });
};

document.addEventListener('keydown', (event) => {
  if (event.target.matches('input, select') || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === 'j') step(1);
  else if (event.key === 'k') step(-1);
  else if (event.key === 'Escape') close();
  else if (event.key === '/') { event.preventDefault(); filters.querySelector('input').focus(); }
});

for (const button of document.querySelectorAll('[data-kind]')) {
  button.addEventListener('click', () => {
    Object.assign(state, { kind: button.dataset.kind, outcome: '' });
    refresh();
    document.getElementById('transcripts').scrollIntoView();
    if (found.length) open(found[0], true);
  });
}

buildFilters(filters);
refresh();
const linked = INDEX.findIndex((_, number) => address(number) === location.hash);
if (linked >= 0) { open(linked); document.getElementById('transcripts').scrollIntoView({ behavior: 'instant' }); }
else if (INDEX.length) open(found[0], true);
else reader.append(el('p', { class: 'empty' }, 'There is no episode.'));
