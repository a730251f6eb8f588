// What is shown: state of the filters, and which episodes pass them.
const state = { domain: '', outcome: '', kind: '', query: '', order: 'failed', chosen: null };
const texts = new Map();

// All words of an episode in lower case, made on the first search.
const wordsOf = (number) => {
  if (!texts.has(number)) {
    const entry = INDEX[number];
    const body = bodyOf(number);
    const parts = [entry.task, entry.request, body && body.error];
    for (const message of (body && body.messages) || []) {
      parts.push(message.content, message.thinking);
      for (const call of message.calls || []) parts.push(call.name, JSON.stringify(call.arguments));
    }
    texts.set(number, parts.join('\n').toLowerCase());
  }
  return texts.get(number);
};

const passes = (number) => {
  const entry = INDEX[number];
  return (!state.domain || entry.domain === state.domain)
    && (!state.outcome || entry.outcome === state.outcome)
    && (!state.kind || entry.kind === state.kind)
    && (!state.query || wordsOf(number).includes(state.query));
};

const RANK = { failed: 0, unjudged: 1, passed: 2 };

const matching = () => {
  const kept = INDEX.map((_, number) => number).filter(passes);
  if (state.order === 'failed') kept.sort((a, b) => RANK[INDEX[a].outcome] - RANK[INDEX[b].outcome] || a - b);
  return kept;
};

const select = (label, key, options) => {
  const made = el('select', { 'aria-label': label, 'data-key': key },
    el('option', { value: '' }, label),
    ...options.map(([value, text]) => el('option', { value }, text)));
  made.addEventListener('change', () => { state[key] = made.value; refresh(); });
  return made;
};

const counted = (key, name = (value) => value) => {
  const counts = new Map();
  for (const entry of INDEX) if (entry[key]) counts.set(entry[key], (counts.get(entry[key]) || 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]).map(([value, n]) => [value, `${name(value)} (${n})`]);
};

// tau2-bench numbers its tasks: a bare number is no name.
const nameOf = (entry) => (/^\d+$/.test(entry.task) ? `Task ${entry.task}` : entry.task);

const OUTCOMES = { passed: 'Passed', failed: 'Failed', unjudged: 'No verdict' };

const buildFilters = (place) => {
  const search = el('input', { type: 'search', placeholder: 'Search transcripts, tasks, tool calls', 'aria-label': 'Search' });
  let waiting = 0;
  search.addEventListener('input', () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { state.query = search.value.trim().toLowerCase(); refresh(); }, 180);
  });
  const clear = el('button', { class: 'clear', type: 'button', onclick: () => {
    Object.assign(state, { domain: '', outcome: '', kind: '', query: '' });
    search.value = '';
    refresh();
  } }, 'Clear');
  const order = el('select', { 'aria-label': 'Order', 'data-key': 'order' },
    el('option', { value: 'failed' }, 'Failed first'), el('option', { value: 'task' }, 'By task'));
  order.addEventListener('change', () => { state.order = order.value; refresh(); });
  place.append(search,
    select('All domains', 'domain', counted('domain')),
    select('All outcomes', 'outcome', counted('outcome', (value) => OUTCOMES[value])),
    select('All failure kinds', 'kind', counted('kind', (value) => KINDS[value] || value)),
    order, el('span', { class: 'count', 'aria-live': 'polite' }), clear);
};

const showFilters = (place, count) => {
  for (const box of place.querySelectorAll('select')) box.value = state[box.dataset.key];
  place.querySelector('.count').textContent = `${count.toLocaleString()} of ${INDEX.length.toLocaleString()}`;
  const active = state.domain || state.outcome || state.kind || state.query;
  place.querySelector('.clear').style.visibility = active ? 'visible' : 'hidden';
};
