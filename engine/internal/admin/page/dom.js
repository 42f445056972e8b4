// Elements, and numbers as people read them. Nothing that comes from the wire is ever read as HTML.

export const $ = (id) => document.getElementById(id);

// h makes an element: h('a.b', {onclick: f}, 'text', child).
export function h(what, props, ...children) {
  const [tag, ...classes] = what.split('.');
  const e = document.createElement(tag || 'div');
  if (classes.length) e.className = classes.join(' ');
  for (const [k, v] of Object.entries(props || {})) {
    if (v === undefined || v === false || v === null) continue;
    if (k.startsWith('on')) e.addEventListener(k.slice(2), v);
    else if (k in e && k !== 'list') e[k] = v;
    else e.setAttribute(k, v === true ? '' : v);
  }
  for (const c of children.flat(9)) if (c !== null && c !== undefined && c !== false) e.append(c);
  return e;
}

// words has the names of flags in a text in one piece.
export const words = (text) => text.split(/(--[a-z-]+)/).map((part, i) => i % 2 ? h('span.flag', {}, part) : part);

const UNITS = [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']];

export function short(n, digits = 1) {
  const a = Math.abs(n);
  for (const [size, unit] of UNITS) {
    if (a >= Math.max(size, 1e4)) return (n / size).toFixed(a / size >= 100 ? 0 : digits) + unit;
  }
  if (a >= 100 || Number.isInteger(n)) return whole(Math.round(n));
  return n.toFixed(a < 1 ? 2 : 1);
}

export const whole = (n) => n.toLocaleString('en');

const SIZES = [[2 ** 40, 'TiB'], [2 ** 30, 'GiB'], [2 ** 20, 'MiB'], [2 ** 10, 'KiB']];

export function bytes(n) {
  for (const [size, unit] of SIZES) {
    if (n >= size) return (n / size).toFixed(n / size >= 100 ? 0 : 1) + ' ' + unit;
  }
  return Math.round(n) + ' B';
}

export function seconds(s) {
  if (s === 0) return '0';
  if (s < .001) return (s * 1e6).toFixed(0) + ' µs';
  if (s < 1) return (s * 1e3).toFixed(s < .01 ? 1 : 0) + ' ms';
  if (s < 120) return s.toFixed(s < 10 ? 1 : 0) + ' s';
  if (s < 7200) return Math.floor(s / 60) + ' min';
  if (s < 172800) return (s / 3600).toFixed(1) + ' h';
  return (s / 86400).toFixed(1) + ' d';
}

// since is how long ago a time is, in whole seconds: a list that is read again and again must not
// flicker.
export const since = (t) => {
  const s = Math.max(0, Math.floor((Date.now() - new Date(t)) / 1000));
  return s ? s < 120 ? s + ' s' : seconds(s) : 'now';
};
export const clock = (t) => new Date(t).toLocaleTimeString('en', {hour12: false});
export const plural = (n, what) => `${whole(n)} ${what}${n === 1 ? '' : 's'}`;
export const sum = (o) => Object.values(o || {}).reduce((a, b) => a + b, 0);
export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export const later = (f, ms) => { let t; return () => { clearTimeout(t); t = setTimeout(f, ms); }; };

export function toast(text, bad) {
  const all = $('toasts');
  if ([...all.children].some((e) => e.textContent === text)) return;
  const e = h(bad ? 'div.bad' : 'div', {}, text);
  all.append(e);
  while (all.children.length > 4) all.firstChild.remove();
  setTimeout(() => e.remove(), bad ? 7000 : 3500);
}

// modal opens a dialog, which is gone when it closes.
export function modal(title, text, ...children) {
  const d = h('dialog', {'aria-label': title}, h('h2', {}, title), text && h('p', {}, words(text)), ...children);
  d.addEventListener('close', () => d.remove());
  document.body.append(d);
  d.showModal();
  return d;
}

// sure asks before something is done.
export function sure(title, text, yes) {
  return new Promise((done) => {
    const d = modal(title, text, h('form', {method: 'dialog'}, h('.row', {},
      h('button.btn', {value: 'no', type: 'submit'}, 'Cancel'),
      h('button.btn.danger', {value: 'yes', type: 'submit', autofocus: true}, yes))));
    d.addEventListener('close', () => done(d.returnValue === 'yes'));
  });
}
