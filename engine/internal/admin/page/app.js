// The page for people. It shows what the API says, and asks it for all that it does: no other request
// leaves it. Nothing that comes from the wire is ever read as HTML.
'use strict';

// ---- small things

const $ = (id) => document.getElementById(id);

// h makes an element: h('a.b', {onclick: f}, 'text', child).
function h(what, props, ...children) {
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

function short(n, digits = 1) {
  const a = Math.abs(n);
  for (const [size, unit] of [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e4, 'k']]) {
    if (a >= size) return (n / (unit === 'k' ? 1e3 : size)).toFixed(a / size >= 100 ? 0 : digits) + unit;
  }
  return a >= 100 || Number.isInteger(n) ? Math.round(n).toLocaleString('en') : n.toFixed(a < 1 ? 2 : 1);
}
function bytes(n) {
  for (const [size, unit] of [[2 ** 40, 'TiB'], [2 ** 30, 'GiB'], [2 ** 20, 'MiB'], [2 ** 10, 'KiB']]) {
    if (n >= size) return (n / size).toFixed(n / size >= 100 ? 0 : 1) + ' ' + unit;
  }
  return Math.round(n) + ' B';
}
function seconds(s) {
  if (s === 0) return '0';
  if (s < .001) return (s * 1e6).toFixed(0) + ' µs';
  if (s < 1) return (s * 1e3).toFixed(s < .01 ? 1 : 0) + ' ms';
  if (s < 120) return s.toFixed(s < 10 ? 1 : 0) + ' s';
  if (s < 7200) return Math.floor(s / 60) + ' min';
  if (s < 172800) return (s / 3600).toFixed(1) + ' h';
  return (s / 86400).toFixed(1) + ' d';
}
const clock = (t) => new Date(t).toLocaleTimeString('en', {hour12: false});
const ago = (t) => seconds(Math.max(0, (Date.now() - new Date(t)) / 1000));
const sum = (o) => Object.values(o || {}).reduce((a, b) => a + b, 0);

function toast(text, bad) {
  const e = h(bad ? 'div.bad' : 'div', {}, text);
  $('toasts').append(e);
  setTimeout(() => e.remove(), bad ? 7000 : 3500);
}

// ---- the API

let token = sessionStorage.getItem('token') || '';

class Refusal extends Error {
  constructor(status, code, message) { super(message); this.status = status; this.code = code; }
}

async function ask(path, {body, signal} = {}) {
  const headers = token ? {Authorization: 'Bearer ' + token} : {};
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const r = await fetch('/api/v1/' + path, {
    method: body === undefined ? 'GET' : 'POST', headers, signal, cache: 'no-store',
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (r.ok) return r;
  let e = {code: 'unknown', message: 'the gateway answers ' + r.status};
  try { e = await r.json(); } catch { /* not ours */ }
  throw new Refusal(r.status, e.code, e.message);
}

const read = async (path, options) => (await ask(path, options)).json();

// act does something, and says how it went.
async function act(path, body, done) {
  try {
    const answer = await read(path, {body});
    toast(done(answer));
    return true;
  } catch (e) {
    if (!refused(e)) toast(e.message, true);
    return false;
  }
}

// refused asks for a token when that is what is missing, and reports whether it was.
function refused(e) {
  if (e.status !== 401 && !(e.status === 403 && e.code === 'forbidden') && e.status !== 429) return false;
  askToken(e);
  return true;
}

// follow reads server-sent events until the stream ends, which is an error unless it was called off.
async function follow(path, signal, each) {
  const r = await ask(path, {signal});
  const reader = r.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const {value, done} = await reader.read();
    if (done) throw new Error('the stream has ended');
    rest += value;
    const parts = rest.split('\n\n');
    rest = parts.pop();
    for (const part of parts) {
      let name = 'message', data = '';
      for (const line of part.split('\n')) {
        if (line.startsWith('event: ')) name = line.slice(7);
        else if (line.startsWith('data: ')) data += line.slice(6);
      }
      if (data) each(name, JSON.parse(data));
    }
  }
}

// ---- counters over time

const KEEP = 900; // seconds
const samples = []; // newest last: what charts show of each second
let last = null; // the counters of the second before

// quantile returns the bound below which a part of what was counted since before is.
function quantile(now, before, q) {
  const counts = now.counts.map((n, i) => n - (before ? before.counts[i] : 0));
  const all = counts.reduce((a, b) => a + b, 0);
  if (!all) return null;
  let seen = 0;
  for (let i = 0; i < counts.length; i++) {
    seen += counts[i];
    if (seen >= q * all) return now.bounds[Math.min(i, now.bounds.length - 1)];
  }
  return null;
}

function take(s) {
  const before = last;
  last = s;
  if (before && s.uptimeSeconds < before.uptimeSeconds) samples.length = 0; // another process
  if (!before || s.uptimeSeconds <= before.uptimeSeconds) return;
  const dt = s.uptimeSeconds - before.uptimeSeconds;
  const rate = (f) => Math.max(0, (f(s) - f(before)) / dt);
  const closed = {};
  for (const [why, n] of Object.entries(s.connections.closed)) closed[why] = Math.max(0, (n - (before.connections.closed[why] || 0)) / dt);
  for (const [why, n] of Object.entries(s.connections.refused)) closed[why] = (closed[why] || 0) + Math.max(0, (n - (before.connections.refused[why] || 0)) / dt);
  const k = s.memory.kinds;
  samples.push({
    t: Date.parse(s.time) / 1000, clients: s.connections.clients, now: s.connections.now,
    deliveries: rate((x) => x.messages.deliveries), publishes: rate((x) => x.messages.publishes), requests: rate((x) => x.requests.all),
    drops: rate((x) => sum(x.messages.drops)), in: rate((x) => x.messages.receivedBytes), out: rate((x) => x.messages.sentBytes),
    p50: quantile(s.latency, before.latency, .5), p99: quantile(s.latency, before.latency, .99),
    lags: s.loops.map((l) => l.lagSeconds), closed,
    backlogs: {unsent: k.unsent, shared: k.shared, input: k.input + k.fragments, workers: k['link-queue'] + k['link-delayed']},
    clientsBytes: s.memory.clientsBytes, heap: s.memory.heapBytes, system: s.memory.systemBytes,
  });
  if (samples.length > KEEP) samples.shift();
}

// ---- charts

const PALETTE = ['#2dd4bf', '#60a5fa', '#c084fc', '#fbbf24', '#f87171', '#a3e635', '#f472b6', '#94a3b8'];
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Each chart says what its series are, given the samples, as [name, values].
const CHARTS = [
  {title: 'Connections', unit: short, fill: true, series: (s) => lively([['open', s.map((x) => x.now)], ...named(s, (x) => x.clients)])},
  {title: 'Messages a second', unit: short, fill: true, series: (s) => [['deliveries', s.map((x) => x.deliveries)], ['publishes', s.map((x) => x.publishes)], ['requests', s.map((x) => x.requests)], ['drops', s.map((x) => x.drops)]].filter(([n, v]) => n !== 'drops' || v.some((x) => x))},
  {title: 'Bytes a second', unit: bytes, fill: true, series: (s) => [['out', s.map((x) => x.out)], ['in', s.map((x) => x.in)]]},
  {title: 'Latency of workers', unit: seconds, dots: true, none: 'no answers of workers yet', series: (s) => [['p50', s.map((x) => x.p50)], ['p99', s.map((x) => x.p99)]]},
  {title: 'Loop lag', unit: seconds, series: (s) => (s.length ? s[s.length - 1].lags : []).slice(0, 8).map((_, i) => ['loop ' + i, s.map((x) => x.lags[i])])},
  {title: 'Backlogs', unit: bytes, fill: true, none: 'everybody keeps up', series: (s) => named(s, (x) => x.backlogs)},
  {title: 'Memory', unit: bytes, fill: true, series: (s) => [['system', s.map((x) => x.system)], ['live heap', s.map((x) => x.heap)], ['kept for clients', s.map((x) => x.clientsBytes)]]},
  {title: 'Closes a second, by reason', unit: short, bars: true, none: 'nobody has left', series: (s) => top(named(s, (x) => x.closed), 6)},
];

// named makes a series of each name that an object of the samples has.
function named(s, f, ...more) {
  const names = new Set();
  for (const x of s) for (const n of Object.keys(f(x))) names.add(n);
  const list = [...names].map((n) => [n, s.map((x) => f(x)[n] || 0)]);
  for (const [n, g] of more) list.push([n, s.map(g)]);
  return list;
}

// top keeps the series with the most in them, and adds up the rest.
function top(list, n) {
  list.sort((a, b) => b[1].reduce((x, y) => x + y, 0) - a[1].reduce((x, y) => x + y, 0));
  if (list.length <= n) return list;
  const rest = list.slice(n - 1);
  return [...list.slice(0, n - 1), ['others', rest[0][1].map((_, i) => rest.reduce((a, r) => a + r[1][i], 0))]];
}

// BINARY are the steps of an axis of bytes.
const BINARY = Array.from({length: 50}, (_, i) => 2 ** i);

// lively leaves out series that are nothing all the time, but for the first.
const lively = (list) => list.filter(([, values], i) => i === 0 || values.some((v) => v));

class Chart {
  constructor(spec) {
    this.spec = spec;
    this.legend = h('.legend');
    this.plot = h('.plot', {'data-none': spec.none});
    this.element = h('section.card', {'aria-label': spec.title}, h('h3', {}, spec.title), this.legend, this.plot);
    this.shape = '';
  }

  draw(shown) {
    const series = this.spec.series(shown);
    const nothing = !series.some(([, values]) => values.some((v) => v));
    this.plot.classList.toggle('none', !!this.spec.none && nothing);
    const data = [shown.map((x) => x.t), ...series.map((s) => s[1])];
    const shape = series.map((s) => s[0]).join('|') + document.documentElement.dataset.theme + this.plot.clientWidth + 'x' + this.plot.clientHeight + (shown.length === 1);
    if (shape !== this.shape || !this.uplot) this.build(series, data, shape);
    else this.uplot.setData(data);
    if (this.uplot.cursor.idx === null || this.uplot.cursor.idx === undefined) this.label(data[0].length - 1);
    else this.label(this.uplot.cursor.idx);
  }

  build(series, data, shape) {
    this.shape = shape;
    this.names = series.map((s) => s[0]);
    this.uplot?.destroy();
    const dim = css('--faint'), line = css('--line'), unit = this.spec.unit;
    const axis = {stroke: dim, font: '11px ' + css('--sans'), ticks: {show: false}};
    this.uplot = new uPlot({
      width: Math.max(this.plot.clientWidth, 50), height: this.plot.clientHeight, legend: {show: false}, padding: [10, 4, 0, 0],
      cursor: {sync: {key: 'all'}, drag: {x: false, y: false}, points: {size: 6}, y: false},
      scales: {y: {range: (u, lo, hi) => [0, hi > 0 ? hi * 1.12 : 1]}},
      axes: [
        {...axis, grid: {show: false}, space: 80, size: 28, gap: 8, values: (u, list) => list.map((t) => clock(t * 1000).slice(0, 8))},
        {...axis, grid: {stroke: line, width: 1}, size: 60, space: 36, gap: 8, incrs: unit === bytes ? BINARY : undefined, values: (u, list) => list.map((v) => unit(v))},
      ],
      series: [{}, ...series.map(([name], i) => this.stroke(name, i, shown1(data)))],
      hooks: {setCursor: [(u) => this.label(u.cursor.idx ?? u.data[0].length - 1)]},
    }, data, this.plot);
  }

  stroke(name, i, alone) {
    const color = PALETTE[i % PALETTE.length];
    const s = {label: name, stroke: color, width: 1.75, points: {show: !!(this.spec.dots || alone), size: 4, fill: color}};
    if (this.spec.dots) s.spanGaps = true;
    if (this.spec.fill && i < 2) {
      s.fill = (u) => {
        const g = u.ctx.createLinearGradient(0, u.bbox.top, 0, u.bbox.top + u.bbox.height);
        g.addColorStop(0, color + (i ? '26' : '4d'));
        g.addColorStop(1, color + '00');
        return g;
      };
    }
    if (this.spec.bars) { s.paths = uPlot.paths.bars({size: [.9, 24]}); s.fill = color + '99'; s.points.show = false; }
    return s;
  }

  // label says in words what is at a place.
  label(i) {
    this.legend.replaceChildren(...this.names.map((name, n) => {
      const v = this.uplot.data[n + 1][i];
      const dot = h('i');
      dot.style.background = PALETTE[n % PALETTE.length];
      return h('span', {}, dot, name, h('b', {}, v === null || v === undefined ? '–' : this.spec.unit(v)));
    }));
  }
}
const shown1 = (data) => data[0].length === 1;

// ---- views

// A view has a title, makes its elements, and may refresh them; close ends what it has begun.
const views = [];
let view = null;

function overview() {
  const tiles = {};
  const tile = (id, title) => {
    const big = h('.big', {}, '–'), sub = h('.sub', {}, '\u00a0'), fill = h('i');
    tiles[id] = {big, sub, fill};
    return h('section.tile', {'aria-label': title}, h('h3', {}, title), big, sub, h('.meter', {}, fill));
  };
  const charts = CHARTS.map((spec) => new Chart(spec));
  let range = +(sessionStorage.getItem('range') || 300);
  const note = h('span');
  const ranges = [60, 300, 900].map((s) => h('button', {onclick: () => { range = s; sessionStorage.setItem('range', s); draw(); }, 'data-s': s}, seconds(s)));
  const element = h('', {},
    h('.tiles', {}, tile('conns', 'Connections'), tile('deliveries', 'Deliveries'), tile('bytes', 'Sent'), tile('latency', 'Workers'), tile('lag', 'Loop lag'), tile('memory', 'Kept for clients')),
    h('.range', {}, note, ranges),
    h('.charts', {}, charts.map((c) => c.element)));
  const set = (id, number, unit, sub, part) => {
    const t = tiles[id];
    t.big.replaceChildren(number, unit ? h('small', {}, unit) : '');
    t.sub.textContent = sub;
    t.fill.style.width = Math.min(100, 100 * (part || 0)) + '%';
    t.fill.style.background = part > .9 ? 'var(--bad)' : part > .7 ? 'var(--warn)' : '';
  };
  const draw = () => {
    ranges.forEach((b) => b.setAttribute('aria-pressed', +b.dataset.s === range));
    const s = last, x = samples[samples.length - 1];
    if (!s) return;
    set('conns', s.connections.now.toLocaleString('en'), '', `of ${short(s.connections.limit)} · ${short(s.connections.accepted)} accepted`, s.connections.now / s.connections.limit);
    if (x) {
      const peak = (f) => Math.max(1e-9, ...samples.map(f));
      set('deliveries', short(x.deliveries), '/s', `${short(x.publishes)} publishes/s · ${short(s.messages.topics)} topic${s.messages.topics === 1 ? '' : 's'}`, x.deliveries / peak((y) => y.deliveries) * .7);
      const [n, u] = bytes(x.out).split(' ');
      set('bytes', n, u + '/s', `${bytes(x.in)}/s received`, x.out / peak((y) => y.out) * .7);
      const lag = Math.max(...x.lags);
      const [l, lu] = seconds(lag).split(' ');
      set('lag', l, lu, `${s.loops.length} loops · ${s.panics} panics`, lag / .1);
      const p99 = [...samples].reverse().slice(0, 30).find((y) => y.p99 !== null);
      const [q, qu] = p99 ? seconds(p99.p99).split(' ') : ['–', ''];
      set('latency', q, p99 ? qu + ' p99' : '', `${short(x.requests)}/s · ${short(s.requests.timedOut)} timed out`, p99 ? p99.p99 / 5 : 0);
    }
    const [m, mu] = bytes(s.memory.clientsBytes).split(' ');
    set('memory', m, mu, `of ${bytes(s.memory.clientsLimitBytes)} · ${bytes(s.memory.systemBytes)} process`, s.memory.clientsBytes / s.memory.clientsLimitBytes);
    const from = Date.now() / 1000 - range;
    const shown = samples.filter((y) => y.t >= from);
    note.textContent = samples.length < 2 ? 'gathering' : `up ${seconds(s.uptimeSeconds)} · this page has seen ${seconds(samples[samples.length - 1].t - samples[0].t)}`;
    if (shown.length) for (const c of charts) c.draw(shown);
  };
  return {element, tick: draw, resize: draw, close: () => charts.forEach((c) => c.uplot?.destroy())};
}

// table makes one of rows that are objects; columns are {title, value, num, sort, cls}.
function table(columns, {onsort, onrow, sorted} = {}) {
  const body = h('tbody');
  const head = h('tr');
  const drawHead = () => head.replaceChildren(...columns.map((c) => {
    const down = c.sort && sorted() === '-' + c.sort, up = c.sort && sorted() === c.sort;
    const label = c.title + (down ? ' ↓' : up ? ' ↑' : '');
    const th = h(c.num ? 'th.num' : 'th', {scope: 'col'}, c.sort ? h('button', {onclick: () => { onsort(down ? c.sort : up ? '' : '-' + c.sort); drawHead(); }}, label) : h('span', {}, label));
    if (down || up) th.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    return th;
  }));
  drawHead();
  const element = h('.table', {}, h('table', {}, h('thead', {}, head), body));
  return {
    element, body,
    rows: (list, none) => {
      const focused = [...body.children].indexOf(document.activeElement);
      body.replaceChildren(...(list.length ? list.map((r) => h('tr' + (onrow ? '.link' : ''), onrow ? {
        tabIndex: 0, onclick: (e) => { if (!e.target.closest('button')) onrow(r); }, onkeydown: (e) => { if (e.key === 'Enter' && e.target.tagName === 'TR') onrow(r); },
      } : {}, columns.map((c) => {
        const v = c.value(r);
        return h('td' + (c.num ? '.num' : '') + (c.cls ? '.' + c.cls : ''), typeof v === 'string' && v.length > 30 ? {title: v} : {}, v);
      }))) : [h('tr', {}, h('td', {colSpan: columns.length}, h('.empty', {}, h('b', {}, none[0]), none[1])))]));
      if (focused >= 0) body.children[focused]?.focus();
    },
  };
}

// polled calls f at once and then every so often, one call at a time, while the page is looked at.
function polled(f, ms) {
  let on = true, running = false;
  const run = async () => {
    if (!on || running || document.hidden) return;
    running = true;
    try { await f(); } catch (e) { if (on && !refused(e)) toast(e.message, true); } finally { running = false; }
  };
  const timer = setInterval(run, ms);
  run();
  return {now: run, stop: () => { on = false; clearInterval(timer); }};
}

const later = (f, ms) => { let t; return () => { clearTimeout(t); t = setTimeout(f, ms); }; };
const queryOf = (o) => new URLSearchParams(Object.entries(o).filter(([, v]) => v)).toString();

const stateTag = (c) => c.stalled ? h('span.tag.bad', {}, 'stalled') : c.congested ? h('span.tag.warn', {}, 'congested') : h('span.tag' + (c.state === 'online' ? '.good' : ''), {}, c.state);

function connections() {
  let sort = '-since', limit = 100;
  const search = h('input', {type: 'search', placeholder: 'User, uniqId or address  ( / )', 'aria-label': 'Filter', oninput: later(() => p.now(), 200)});
  const protocol = h('select', {'aria-label': 'Protocol', onchange: () => p.now()}, ['', 'gosoc', 'longbridge', 'netsvr'].map((v) => h('option', {value: v}, v || 'all protocols')));
  const slow = h('select', {'aria-label': 'State', onchange: () => p.now()}, [['', 'all states'], ['congested', 'slow ones'], ['online', 'online'], ['login', 'login'], ['opening', 'opening'], ['attached', 'attached']].map(([v, t]) => h('option', {value: v}, t)));
  const count = h('span.count');
  const t = table([
    {title: 'User', sort: 'user', value: (c) => c.user || h('span.dim', {}, 'anonymous')},
    {title: 'uniqId', cls: 'mono', value: (c) => c.uniqId || '–'}, {title: 'Protocol', value: (c) => c.protocol}, {title: 'State', value: stateTag},
    {title: 'Address', cls: 'mono', value: (c) => c.peer}, {title: 'Since', num: true, sort: 'since', value: (c) => ago(c.since)},
    {title: 'In', num: true, sort: 'bytesIn', value: (c) => bytes(c.bytesIn)}, {title: 'Out', num: true, sort: 'bytesOut', value: (c) => bytes(c.bytesOut)},
    {title: 'Messages out', num: true, sort: 'messagesOut', value: (c) => short(c.messagesOut)}, {title: 'Lag', num: true, sort: 'lagBytes', value: (c) => c.lagBytes ? bytes(c.lagBytes) : '–'},
    {title: 'Memory', num: true, sort: 'memoryBytes', value: (c) => bytes(c.memoryBytes)}, {title: 'Topics', num: true, sort: 'topics', value: (c) => short(c.topics)},
    {title: '', value: (c) => h('button.btn.small.danger', {onclick: () => kick(c)}, 'Kick')},
  ], {onsort: (s) => { sort = s; p.now(); }, sorted: () => sort, onrow: (c) => detail(c.uniqId || c.connection)});
  const more = h('button.btn', {onclick: () => { limit = Math.min(1000, limit * 2); p.now(); }}, 'More');
  const kick = async (c) => {
    if (!await sure(`Kick ${c.user || c.uniqId || c.peer}?`, 'The connection and its session end.', 'Kick')) return;
    if (await act('kick', {connection: c.connection}, () => `${c.user || c.peer} was kicked`)) p.now();
  };
  const p = polled(async () => {
    const page = await read('connections?' + queryOf({sort: sort || 'since', limit, search: search.value, protocol: protocol.value, state: slow.value === 'congested' ? '' : slow.value, congested: slow.value === 'congested' && 'true'}));
    count.textContent = `${page.connections.length.toLocaleString('en')} of ${page.matched.toLocaleString('en')}`;
    more.parentElement.hidden = !page.next || limit >= 1000;
    t.rows(page.connections, ['Nobody here', search.value ? 'No connection matches the filter.' : 'Clients that connect show up here.']);
  }, 2000);
  return {element: h('', {}, h('.bar', {}, h('h2', {}, 'Connections'), count, h('span.grow'), search, protocol, slow), t.element, h('.more', {hidden: true}, more)), filter: search, close: p.stop};
}

// detail shows all that is known of one connection beside the page.
async function detail(id) {
  let c;
  try { c = await read('connections/' + encodeURIComponent(id)); } catch (e) { if (!refused(e)) toast(e.message, true); return; }
  const pair = (name, v) => [h('dt', {}, name), h('dd', {}, v)];
  const chips = (list) => list.length ? h('.chips', {}, list.map((x) => h('span.tag', {}, x))) : '–';
  const map = (m) => Object.keys(m).length ? h('.chips', {}, Object.entries(m).map(([k, v]) => h('span.tag.mono', {}, `${k}: ${v}`))) : '–';
  const end = (path, what) => async () => { if (await act(path, {connection: c.connection}, () => `${c.user || c.peer} was ${what}`)) d.close(); };
  const d = h('dialog.side', {'aria-label': 'Connection'},
    h('.bar', {}, h('h2', {}, c.user || 'anonymous'), stateTag(c), h('span.grow'), h('button.btn.small', {onclick: () => d.close()}, 'Close')),
    h('dl', {},
      pair('uniqId', h('span.mono', {}, c.uniqId || '–')), pair('connection', h('span.mono', {}, c.connection)), pair('protocol', c.protocol), pair('address', h('span.mono', {}, c.peer)),
      pair('since', `${new Date(c.since).toLocaleString('en')} · ${ago(c.since)}`), pair('received', `${bytes(c.bytesIn)} · ${short(c.messagesIn)} messages`), pair('sent', `${bytes(c.bytesOut)} · ${short(c.messagesOut)} messages`),
      pair('waits to be sent', `${bytes(c.unsentBytes)} of its own · ${bytes(c.lagBytes)} behind`), pair('not handled yet', bytes(c.inputBytes)), pair('memory', bytes(c.memoryBytes)),
      pair('requests waiting', short(c.pendingRequests)), pair('listener · loop', `${c.listener} · ${c.loop}`), pair('encryption', c.tls ? `${c.tls.version} · ${c.tls.cipherSuite}${c.tls.clientSubject ? ' · ' + c.tls.clientSubject : ''}` : 'none'), pair('session', c.session || (c.resumable ? 'can be resumed' : '–')),
      pair('says of itself', map(c.metadata)), pair('login vouches for', map(c.claims)), pair(`topics (${c.topics})`, c.topicNamesTruncated ? 'too many to list' : chips(c.topicNames))),
    h('.bar', {}, h('button.btn.danger', {onclick: end('kick', 'kicked')}, 'Kick'), h('button.btn', {onclick: end('disconnect', 'disconnected')}, 'Disconnect'), h('span.dim', {}, 'Whom you disconnect may come back.')));
  d.addEventListener('close', () => d.remove());
  document.body.append(d);
  d.showModal();
}

function topics() {
  let sort = '-subscribers';
  const search = h('input', {type: 'search', placeholder: 'Topic  ( / )', 'aria-label': 'Filter', oninput: later(() => p.now(), 200)});
  const count = h('span.count');
  const name = h('input', {required: true, placeholder: 'news', name: 'topic'}), payload = h('textarea', {placeholder: 'hello', name: 'payload'});
  const t = table([
    {title: 'Topic', sort: 'name', value: (x) => x.topic}, {title: 'Subscribers', num: true, sort: 'subscribers', value: (x) => x.subscribers.toLocaleString('en')},
    {title: 'Messages/s', num: true, value: (x) => short(x.messagesPerSecond)}, {title: 'Messages', num: true, value: (x) => short(x.messages)}, {title: 'Deliveries', num: true, value: (x) => short(x.deliveries)},
    {title: '', value: (x) => h('button.btn.small', {onclick: () => show('tail', x.topic)}, 'Tail')},
  ], {onsort: (s) => { sort = s === '-name' ? 'name' : s; p.now(); }, sorted: () => sort, onrow: (x) => { name.value = x.topic; payload.focus(); }});
  const p = polled(async () => {
    const page = await read('topics?' + queryOf({sort, limit: 500, search: search.value}));
    count.textContent = `${page.total.toLocaleString('en')} with subscribers`;
    t.rows(page.topics, ['No topics', search.value ? 'No topic matches the filter.' : 'A topic is there as long as somebody has subscribed to it.']);
  }, 2000);
  const form = h('form.card.form', {onsubmit: async (e) => {
    e.preventDefault();
    await act('publish', {topic: name.value, payload: payload.value}, (a) => `Published to ${a.subscribers.toLocaleString('en')} subscriber${a.subscribers === 1 ? '' : 's'}`);
    p.now();
  }}, h('h3', {}, 'Publish a message'), h('label', {}, 'Topic', name), h('label', {}, 'Payload', payload), h('button.btn.go', {}, 'Publish'));
  return {element: h('', {}, h('.bar', {}, h('h2', {}, 'Topics'), count, h('span.grow'), search), h('.grid2', {}, t.element, form)), filter: search, close: p.stop};
}

function workers() {
  const count = h('span.count');
  const t = table([
    {title: 'Worker', value: (w) => w.registered ? h('b', {}, String(w.workerId)) : h('span.dim', {}, 'not registered')}, {title: 'Address', cls: 'mono', value: (w) => w.peer},
    {title: 'State', value: (w) => w.standsStill ? h('span.tag.bad', {}, 'stands still') : h('span.tag.good', {}, w.takesRequests ? 'takes requests' : 'takes messages')},
    {title: 'Since', num: true, value: (w) => ago(w.since)}, {title: 'Silent', num: true, value: (w) => seconds(w.silentSeconds)},
    {title: 'To it', num: true, value: (w) => short(w.sent)}, {title: 'From it', num: true, value: (w) => short(w.received)},
    {title: 'Queue', num: true, value: (w) => `${bytes(w.queueBytes)} of ${bytes(w.queueLimitBytes)}`},
    {title: 'Answers', num: true, value: (w) => short(w.latency.count)}, {title: 'p50', num: true, value: (w) => w.latency.count ? seconds(w.latency.p50) : '–'}, {title: 'p99', num: true, value: (w) => w.latency.count ? seconds(w.latency.p99) : '–'},
  ]);
  const l = table([
    {title: 'Loop', value: (x) => h('b', {}, String(x.loop))}, {title: 'Connections', num: true, value: (x) => x.connections.toLocaleString('en')}, {title: 'Lag', num: true, value: (x) => seconds(x.lagSeconds)},
    {title: 'Turn p50', num: true, value: (x) => seconds(x.turns.p50)}, {title: 'Turn p99', num: true, value: (x) => seconds(x.turns.p99)}, {title: 'Longest', num: true, value: (x) => seconds(x.longestTurnSeconds)},
    {title: 'Mailbox', num: true, value: (x) => `${short(x.mailboxMessages)} · ${bytes(x.mailboxBytes)}`}, {title: 'Watched', num: true, value: (x) => short(x.watched)}, {title: 'Congested', num: true, value: (x) => short(x.congested)}, {title: 'Deferred', num: true, value: (x) => short(x.deferredPublishes)},
  ]);
  const p = polled(async () => {
    const [w, loops] = await Promise.all([read('workers'), read('loops')]);
    count.textContent = `${w.workers.length} connections · ${short(w.latency.count)} requests answered`;
    t.rows(w.workers, ['No workers', w.listens ? 'Workers that connect show up here. With --dev the gateway answers by itself.' : 'This gateway does not serve workers.']);
    l.rows(loops.loops, ['No loops', '']);
  }, 2000);
  return {element: h('', {}, h('.bar', {}, h('h2', {}, 'Workers'), count), t.element, h('.bar', {style: ''}, h('h2', {}, '\u00a0')), h('.bar', {}, h('h2', {}, 'Event loops')), l.element), close: p.stop};
}

const GRACEFUL = ['peer-closed', 'client-close', 'shutdown', 'disconnected'];

function closed() {
  const search = h('input', {type: 'search', placeholder: 'User, uniqId or address  ( / )', 'aria-label': 'Filter', oninput: later(() => p.now(), 200)});
  const reason = h('select', {'aria-label': 'Reason', onchange: () => p.now()}, h('option', {value: ''}, 'all reasons'));
  const count = h('span.count');
  const t = table([
    {title: 'When', value: (c) => clock(c.time)}, {title: 'Reason', value: (c) => h('span.tag' + (c.refused ? '.bad' : GRACEFUL.includes(c.reason) ? '' : '.warn'), {}, c.reason)},
    {title: 'User', value: (c) => c.user || h('span.dim', {}, '–')}, {title: 'uniqId', cls: 'mono', value: (c) => c.uniqId || '–'}, {title: 'Protocol', value: (c) => c.protocol}, {title: 'Address', cls: 'mono', value: (c) => c.peer},
    {title: 'Lasted', num: true, value: (c) => c.refused ? '–' : seconds(c.seconds)}, {title: 'In', num: true, value: (c) => bytes(c.bytesIn)}, {title: 'Out', num: true, value: (c) => bytes(c.bytesOut)},
  ]);
  const p = polled(async () => {
    const page = await read('closed?' + queryOf({limit: 200, search: search.value, reason: reason.value}));
    for (const why of Object.keys({...last?.connections.closed, ...last?.connections.refused}).sort()) {
      if (![...reason.options].some((o) => o.value === why)) reason.append(h('option', {value: why}, why));
    }
    count.textContent = `${page.total.toLocaleString('en')} since the start, ${page.kept.toLocaleString('en')} remembered`;
    t.rows(page.closed, ['Nothing has ended', 'Ends and refusals show up here with their reasons.']);
  }, 2000);
  return {element: h('', {}, h('.bar', {}, h('h2', {}, 'Ended connections'), count, h('span.grow'), search, reason), t.element), filter: search, close: p.stop};
}

function tail(topic) {
  const KEPT = 500;
  let stop = null, seen = 0;
  const name = h('input', {type: 'search', placeholder: 'Topic  ( / )', 'aria-label': 'Topic', value: topic || ''});
  const count = h('span.count'), button = h('button.btn.go', {}, 'Follow');
  const log = h('.log', {tabIndex: 0, 'aria-label': 'Messages'}, h('.empty', {}, h('b', {}, 'Watch a topic'), 'Messages show up here as they are published. Following never slows a publisher down.'));
  const add = (...nodes) => {
    const bottom = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(...nodes);
    while (log.children.length > KEPT) log.firstChild.remove();
    if (bottom) log.scrollTop = log.scrollHeight;
  };
  const end = () => { stop?.abort(); stop = null; button.textContent = 'Follow'; button.className = 'btn go'; };
  const begin = async () => {
    end();
    if (!name.value) { name.focus(); return; }
    const mine = stop = new AbortController();
    seen = 0;
    log.replaceChildren();
    button.textContent = 'Stop';
    button.className = 'btn';
    count.textContent = 'connecting';
    try {
      await follow(`topics/${encodeURIComponent(name.value)}/tail`, mine.signal, (event, m) => {
        if (event === 'open') count.textContent = 'listening';
        if (event === 'dropped') add(h('div.lost', {}, h('time', {}, ''), h('span.size'), h('pre', {}, `${m.dropped} messages were not shown: more came than the page takes`)));
        if (event !== 'message') return;
        count.textContent = `${(++seen).toLocaleString('en')} message${seen === 1 ? '' : 's'}`;
        add(h('div.new', {}, h('time', {}, clock(m.time) + '.' + m.time.slice(20, 23).replace('Z', '').padEnd(3, '0')), h('span.size', {}, bytes(m.bytes)), h('pre', {}, (m.base64 ? 'base64 ' : '') + m.payload + (m.truncated ? ' …' : ''))));
      });
    } catch (e) {
      if (mine.signal.aborted) return;
      end();
      count.textContent = '';
      if (!refused(e)) toast(e.message, true);
    }
  };
  const form = h('form.bar', {onsubmit: (e) => { e.preventDefault(); if (stop) end(); else begin(); }}, h('h2', {}, 'Tail'), count, h('span.grow'), name, button, h('button.btn', {type: 'button', onclick: () => log.replaceChildren()}, 'Clear'));
  if (topic) begin();
  return {element: h('', {}, form, log), filter: name, close: end};
}

views.push(['overview', 'Overview', overview], ['connections', 'Connections', connections], ['topics', 'Topics', topics], ['workers', 'Workers', workers], ['closed', 'Ended', closed], ['tail', 'Tail', tail]);

// show opens a view, and says so in the address.
function show(id, argument) {
  const [name, title, make] = views.find((v) => v[0] === id) || views[0];
  view?.close?.();
  view = make(argument);
  view.id = name;
  $('main').replaceChildren(view.element);
  document.title = `${title} · sluice`;
  for (const b of $('tabs').children) b.setAttribute('aria-selected', b.dataset.view === name);
  const hash = '#' + name + (argument ? '/' + encodeURIComponent(argument) : '');
  if (location.hash !== hash) history.replaceState(null, '', hash);
  view.tick?.();
}

// ---- dialogs

function modal(title, text, ...children) {
  const d = h('dialog', {'aria-label': title}, h('h2', {}, title), h('p', {}, text), ...children);
  d.addEventListener('close', () => d.remove());
  document.body.append(d);
  d.showModal();
  return d;
}

function sure(title, text, yes) {
  return new Promise((done) => {
    const d = modal(title, text, h('form', {method: 'dialog'}, h('.row', {}, h('button.btn', {value: 'no', type: 'submit'}, 'Cancel'), h('button.btn.danger', {value: 'yes', type: 'submit', autofocus: true}, yes))));
    d.addEventListener('close', () => done(d.returnValue === 'yes'));
  });
}

let asking = null;

function askToken(why) {
  if (asking) { asking(why); return; }
  const field = h('input', {type: 'password', autocomplete: 'current-password', placeholder: 'Token', 'aria-label': 'Token', required: true});
  const wrong = h('.wrong', {role: 'alert'}, why && token ? why.message : '');
  const d = modal('Token', why?.status === 403 && !token ? why.message : 'A line of the gateway\u2019s --admin-token file. It stays in this tab.', h('form', {onsubmit: async (e) => {
    e.preventDefault();
    token = field.value.trim();
    try {
      take(await read('stats'));
      sessionStorage.setItem('token', token);
      d.close();
      if (view) show(view.id);
      stream();
    } catch (err) { wrong.textContent = err.message; field.select(); }
  }}, field, wrong, h('.row', {}, h('button.btn', {type: 'button', onclick: () => { sessionStorage.removeItem('token'); token = ''; field.value = ''; field.focus(); }}, 'Forget'), h('button.btn.go', {}, 'Use'))));
  asking = (e) => { if (e && token) wrong.textContent = e.message; };
  d.addEventListener('close', () => { asking = null; });
}

function keys() {
  modal('Keys', '', h('dl', {}, [['1 – 6', 'Views'], ['/', 'Filter'], ['Enter', 'Open a row'], ['t', 'Light or dark'], ['k', 'Token'], ['Esc', 'Close'], ['?', 'This']].map(([k, v]) => [h('dt', {}, h('kbd', {}, k)), h('dd', {}, v)])));
}

// ---- the stream of counters

function pill(text, cls) { $('state').textContent = text; $('state').className = 'pill ' + cls; }

let streaming = null;

async function stream() {
  streaming?.abort();
  const mine = streaming = new AbortController();
  for (let wait = 500; !mine.signal.aborted;) {
    try {
      await follow('stats/stream', mine.signal, (name, s) => {
        if (name !== 'stats') return;
        wait = 500;
        take(s);
        $('version').textContent = s.version;
        if (s.ready) pill('ready', 'good'); else pill(s.notReady[0] || 'not ready', 'warn');
        $('state').title = s.notReady.join('\n');
        if (!document.hidden) view?.tick?.();
      });
    } catch (e) {
      if (mine.signal.aborted) return;
      last = null;
      if (refused(e)) { pill('no token', 'warn'); return; }
      pill('no connection', 'bad');
    }
    await new Promise((r) => setTimeout(r, wait));
    wait = Math.min(wait * 2, 8000);
  }
}

// ---- begin

function theme(name) {
  document.documentElement.dataset.theme = name;
  try { localStorage.setItem('theme', name); } catch { /* not kept, then */ }
  view?.resize?.();
}

theme(localStorage.getItem('theme') || (matchMedia('(prefers-color-scheme: light)').matches ? 'light' : 'dark'));
$('theme').onclick = () => theme(document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark');
$('key').onclick = () => askToken();
$('help').onclick = keys;
views.forEach(([id, title], i) => $('tabs').append(h('button', {role: 'tab', 'data-view': id, title: `${title} (${i + 1})`, onclick: () => show(id)}, title)));
addEventListener('resize', later(() => view?.resize?.(), 120));
addEventListener('hashchange', open);
addEventListener('keydown', (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || document.querySelector('dialog[open]') || /^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName)) {
    if (e.key === 'Escape' && e.target.blur && !document.querySelector('dialog[open]')) e.target.blur();
    return;
  }
  const n = +e.key;
  if (n >= 1 && n <= views.length) show(views[n - 1][0]);
  else if (e.key === '/' && view.filter) view.filter.focus();
  else if (e.key === 't') $('theme').click();
  else if (e.key === 'k') askToken();
  else if (e.key === '?') keys();
  else return;
  e.preventDefault();
});

function open() {
  const [id, argument] = location.hash.slice(1).split('/');
  show(id, argument && decodeURIComponent(argument));
}
open();
stream();
