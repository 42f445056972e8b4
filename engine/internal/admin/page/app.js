// The page for people. It shows what the API says, and asks it for all that it does: no other request
// leaves it.
import {follow, forget, hasToken, keep, read, refused, use, whenRefused} from './api.js';
import {connections} from './connections.js';
import {$, h, later, modal} from './dom.js';
import {ended} from './ended.js';
import {overview} from './overview.js';
import {restore, save, take} from './samples.js';
import {tail} from './tail.js';
import {topics} from './topics.js';
import {workers} from './workers.js';

// A view makes its elements, and may have: tick, when counters have come; resize; close, which ends
// what it has begun; filter, its field; first, which goes to its first row.
const VIEWS = [
  ['overview', 'Overview', overview], ['connections', 'Connections', connections], ['topics', 'Topics', topics],
  ['workers', 'Workers', workers], ['closed', 'Ended', ended], ['tail', 'Tail', tail],
];
let view = null;

// show opens a view, and says so in the address.
function show(id, argument) {
  const [name, title, make] = VIEWS.find((v) => v[0] === id) || VIEWS[0];
  view?.close?.();
  view = make(argument, show);
  view.id = name;
  view.argument = argument;
  $('main').replaceChildren(view.element);
  $('main').setAttribute('aria-label', title);
  document.title = `${title} · sluice`;
  for (const b of $('tabs').children) {
    const selected = b.dataset.view === name;
    b.setAttribute('aria-selected', selected);
    b.tabIndex = selected ? 0 : -1;
  }
  const hash = '#' + name + (argument ? '/' + encodeURIComponent(argument) : '');
  if (location.hash !== hash) history[location.hash ? 'pushState' : 'replaceState'](null, '', hash);
  view.tick?.();
}

function open() {
  const [id, argument] = location.hash.slice(1).split('/');
  show(id, argument && decodeURIComponent(argument));
}

// ---- the token

let asking = null;

function askToken(why) {
  if (asking) { asking(why); return; }
  const field = h('input', {type: 'password', autocomplete: 'current-password', placeholder: 'Token', 'aria-label': 'Token', required: true});
  const wrong = h('.wrong', {role: 'alert'}, why && hasToken() ? why.message : '');
  const text = why?.status === 403 && !hasToken() ? why.message : 'A token of the gateway\u2019s --admin-token file. It stays in this tab.';
  const form = h('form', {onsubmit: async (e) => {
    e.preventDefault();
    use(field.value.trim());
    try {
      take(await read('stats'));
      keep();
      d.close();
      show(view.id, view.argument);
      stream();
    } catch (err) {
      wrong.textContent = err.message;
      field.select();
    }
  }}, field, wrong, h('.row', {}, h('button.btn', {type: 'button', onclick: () => {
    forget();
    field.value = wrong.textContent = '';
    field.focus();
  }}, 'Forget'), h('button.btn.go', {}, 'Use')));
  const d = modal('Token', text, form);
  asking = (e) => { if (e && hasToken()) wrong.textContent = e.message; };
  d.addEventListener('close', () => { asking = null; });
}
whenRefused(askToken);

const KEYS = [
  ['1 – 6', 'Views'], ['/', 'Filter'], ['↓ ↑', 'Rows'], ['Enter', 'Open a row'], ['t', 'Light or dark'], ['k', 'Token'],
  ['Esc', 'Close'], ['?', 'This'],
];

function keys() {
  modal('Keys', '', h('dl', {}, KEYS.map(([k, v]) => [h('dt', {}, h('kbd', {}, k)), h('dd', {}, v)])));
}

// ---- the stream of counters

function pill(text, cls, title) {
  const e = $('state');
  e.textContent = text;
  e.className = 'pill ' + cls;
  e.title = title || '';
}

let streaming = null;

// SILENT is how long the stream may say nothing before it is begun anew, in milliseconds: the counters
// come each second.
const SILENT = 15000;

async function stream() {
  streaming?.abort();
  const mine = streaming = new AbortController();
  for (let wait = 500; !mine.signal.aborted;) {
    const one = new AbortController();
    const give = () => one.abort();
    mine.signal.addEventListener('abort', give);
    let silent = setTimeout(give, SILENT);
    let why = 'no connection';
    try {
      await follow('stats/stream', one.signal, (name, s) => {
        if (name !== 'stats') return;
        clearTimeout(silent);
        silent = setTimeout(give, SILENT);
        wait = 500;
        take(s);
        document.body.classList.remove('stale');
        $('version').textContent = s.version;
        if (s.ready) pill('ready', 'good'); else pill(s.notReady[0] || 'not ready', 'warn', s.notReady.join('\n'));
        if (!document.hidden) view?.tick?.();
      });
    } catch (e) {
      if (mine.signal.aborted) return;
      if (refused(e)) { pill('no token', 'warn'); return; }
      if (e.status) why = e.message;
    } finally {
      clearTimeout(silent);
      mine.signal.removeEventListener('abort', give);
    }
    document.body.classList.add('stale'); // what is shown is from before
    pill(`${why}, trying again`, 'bad');
    await new Promise((r) => setTimeout(r, wait));
    wait = Math.min(wait * 2, 4000);
  }
}

// ---- begin

const light = matchMedia('(prefers-color-scheme: light)');
const wanted = () => light.matches ? 'light' : 'dark'; // by the system

function theme(name) {
  document.documentElement.dataset.theme = name;
  view?.resize?.();
}

// chosen is what was chosen here, if it is not what the system wants anyway.
function chosen() {
  try { return localStorage.getItem('theme'); } catch { return null; }
}

theme(chosen() || wanted());
light.addEventListener('change', () => { if (!chosen()) theme(wanted()); });
$('theme').onclick = () => {
  const name = document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark';
  try {
    if (name === wanted()) localStorage.removeItem('theme'); else localStorage.setItem('theme', name);
  } catch { /* not kept, then */ }
  theme(name);
};
$('key').onclick = () => askToken();
$('help').onclick = keys;
VIEWS.forEach(([id, title], i) => $('tabs').append(
  h('button', {role: 'tab', 'data-view': id, title: `${title} (${i + 1})`, onclick: () => show(id)}, title)));
$('tabs').addEventListener('keydown', (e) => {
  const step = {ArrowRight: 1, ArrowLeft: -1}[e.key];
  if (!step) return;
  const next = [...$('tabs').children].at((VIEWS.findIndex((v) => v[0] === view.id) + step) % VIEWS.length);
  show(next.dataset.view);
  next.focus();
});
addEventListener('resize', later(() => view?.resize?.(), 120));
addEventListener('popstate', open);
addEventListener('pagehide', save);
document.addEventListener('visibilitychange', () => { if (!document.hidden) view?.tick?.(); });
addEventListener('keydown', (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || document.querySelector('dialog[open]')) return;
  if (/^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName)) {
    if (e.key === 'Escape') e.target.blur();
    else if (e.key === 'ArrowDown' && e.target === view.filter) view.first?.();
    return;
  }
  const n = +e.key;
  if (n >= 1 && n <= VIEWS.length) show(VIEWS[n - 1][0]);
  else if (e.key === '/' && view.filter) view.filter.focus();
  else if (e.key === 'ArrowDown' && document.activeElement === document.body && view.first) view.first();
  else if (e.key === 't') $('theme').click();
  else if (e.key === 'k') askToken();
  else if (e.key === '?') keys();
  else return;
  e.preventDefault();
});

restore();
open();
stream();
