// One episode for reading: what was asked, what was expected, the dialogue with folded tool calls.
const pretty = (value) => {
  if (typeof value !== 'string') return JSON.stringify(value, null, 2);
  try {
    const parsed = JSON.parse(value);
    return typeof parsed === 'object' && parsed !== null ? JSON.stringify(parsed, null, 2) : value;
  } catch { return value; }
};

const signature = (call) => {
  const given = Object.entries(call.arguments || {});
  return given.map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`).join(', ');
};

const toolBlock = (call, result, by) => {
  const bad = result !== null && result.startsWith('Error');
  const said = result === null ? 'no result' : bad ? result.slice(0, 80) : 'ok';
  const short = signature(call);
  return el('details', { class: bad ? 'tool bad' : 'tool' },
    el('summary', {},
      el('span', { class: 'call' }, by ? el('i', {}, `${by} `) : null, el('b', {}, marked(String(call.name), state.query)),
        el('i', {}, '(', marked(short.length > 400 ? short.slice(0, 400) + '…' : short, state.query), ')')),
      el('span', { class: 'state' }, said)),
    el('pre', {}, marked(pretty(call.arguments || {}), state.query)),
    result === null ? null : el('pre', {}, marked(pretty(result), state.query)));
};

const WHO = { user: 'User', assistant: 'Agent', system: 'System', tool: 'Tool' };

const spoken = (message) => el('div', { class: `turn ${WHO[message.role] ? message.role : 'system'}` },
  el('span', { class: 'who' }, WHO[message.role] || message.role),
  marked(message.content || '(empty)', state.query),
  message.error ? el('span', { class: 'flaw' }, message.error) : null);

const thought = (text) => el('details', { class: 'thought' }, el('summary', {}, 'Thinking'), el('div', {}, marked(text, state.query)));

// Results follow the turn that made the calls, in the order of the calls.
const dialogue = (messages) => {
  const made = [];
  for (let at = 0; at < messages.length; at += 1) {
    const message = messages[at];
    if (message.thinking) made.push(thought(message.thinking));
    if (message.content || message.error || !message.calls) made.push(spoken(message));
    for (const call of message.calls || []) {
      const answered = at + 1 < messages.length && messages[at + 1].role === 'tool';
      if (answered) at += 1;
      made.push(toolBlock(call, answered ? messages[at].content : null, message.role === 'user' ? 'user:' : ''));
    }
  }
  return made;
};

const ENDS = {
  UserStop: 'The user ended the dialogue.', Transfer: 'The user was transferred.', OutOfScope: 'The user was out of scope.',
  MaxTurns: 'Ended: too many turns.', ContextFull: 'Ended: the context is full.', BadFormat: 'Ended: malformed turn.',
  TurnTooLong: 'Ended: the turn reached its token limit.', Loop: 'Ended: the dialogue repeated itself.',
  UserStuck: 'Ended: the user was stuck in its own tools.',
};

const expectation = (item, ...children) => el('li', { class: item.done ? 'done' : 'missed' }, ...children);

const about = (entry, body) => {
  const parts = [];
  const section = (title, ...children) => parts.push(el('h4', {}, title), ...children);
  if (entry.request) section('What the user wants', el('div', {}, marked(entry.request, state.query)));
  const { actions = [], communicate = [] } = body.expected || {};
  if (actions.length) {
    section('Expected calls', el('ul', {}, ...actions.map((item) => expectation(item,
      el('code', {}, item.by ? `${item.by}: ` : '', el('b', {}, item.name), `(${signature(item)})`)))));
  }
  if (communicate.length) {
    section('To be said', el('ul', {}, ...communicate.map((item) => expectation(item, item.text))));
  }
  if (body.error) section('No verdict', el('div', {}, body.error));
  return parts.length ? el('div', { class: 'about' }, ...parts) : null;
};

const partPill = ([name, value]) => {
  if (typeof value !== 'number') return null;
  return el('span', { class: `pill ${value ? 'passed' : 'failed'}` }, `${value ? '✓' : '✕'} ${name}`);
};

const siblings = (number) => {
  const same = INDEX.map((entry, other) => [entry, other]).filter(([entry]) => entry.row === INDEX[number].row && entry.domain === INDEX[number].domain);
  if (same.length < 2) return null;
  return el('span', { class: 'siblings' }, 'Trials', ...same.map(([entry, other]) => el('button', {
    type: 'button', class: entry.outcome, title: `Trial ${entry.trial}: ${OUTCOMES[entry.outcome]}`,
    'aria-current': other === number ? 'true' : null, onclick: () => open(other) }, String(entry.trial + 1))));
};

const factsRow = (entry, body) => el('div', { class: 'facts-row' },
  ...Object.entries({ turns: entry.turns, 'tool calls': entry.calls, ...body.facts })
    .filter(([, value]) => value !== null && value !== '' && value !== 0)
    .map(([name, value]) => el('span', {}, el('b', {}, name), String(value))));

const episode = (number, close) => {
  const entry = INDEX[number];
  const body = bodyOf(number);
  const shown = el('div', { class: 'body' });
  const fold = el('button', { type: 'button', class: 'fold', onclick: () => {
    const unfold = fold.textContent.startsWith('Unfold');
    for (const tool of shown.querySelectorAll('details.tool')) tool.open = unfold;
    fold.textContent = unfold ? 'Fold tool calls' : 'Unfold tool calls';
  } }, 'Unfold tool calls');
  if (body) {
    shown.append(...[factsRow(entry, body), about(entry, body), ...dialogue(body.messages)].filter(Boolean),
      el('p', { class: 'ending' }, ENDS[body.facts['ended by']] || 'No end'));
  } else {
    shown.append(el('p', { class: 'empty' }, 'This transcript is left out of the page for its size. It is in the episodes file.'));
  }
  const head = el('div', { class: 'head' },
    el('div', { class: 'line' }, el('button', { class: 'back pill', type: 'button', onclick: close }, '‹ Back'),
      el('h3', {}, nameOf(entry)), el('span', { class: 'pill' }, entry.domain),
      el('span', { class: `pill ${entry.outcome}` }, entry.kind ? KINDS[entry.kind] || entry.kind : 'Passed'), siblings(number)),
    el('div', { class: 'actions' }, ...Object.entries((body && body.details) || {}).map(partPill).filter(Boolean),
      shown.querySelector('details.tool') ? fold : null));
  return [head, shown];
};
