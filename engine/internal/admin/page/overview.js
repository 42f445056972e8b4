// The first view: what the gateway does now, and what it did in the last minutes.
import {CHARTS, Chart} from './charts.js';
import {bytes, h, plural, seconds, short, whole} from './dom.js';
import {live} from './samples.js';

// untimed reports whether the gateway itself has answered all requests, as with --dev: nobody waits
// for that.
const untimed = (s) => s.requests.all > 0 && !s.latency.count && !s.requests.timedOut && !s.workers?.registered;

// A new answer is shown for so many seconds after it came.
const RECENT = 30;

export function overview() {
  const tiles = {};
  const tile = (id, title) => {
    const big = h('.big', {}, '–'), sub = h('.sub'), fill = h('i');
    tiles[id] = {big, sub, fill};
    return h('section.tile', {'aria-label': title}, h('h3', {}, title), big, sub, h('.meter', {}, fill));
  };
  const charts = CHARTS.map((spec) => new Chart(spec));
  let range = +(sessionStorage.getItem('range') || 300);
  const note = h('span');
  const ranges = [60, 300, 900].map((s) => h('button', {'data-s': s, onclick: () => {
    range = s;
    sessionStorage.setItem('range', s);
    draw();
  }}, s === 60 ? '1 min' : seconds(s)));
  const element = h('', {},
    h('.tiles', {}, tile('conns', 'Connections'), tile('deliveries', 'Deliveries'), tile('bytes', 'Sent'),
      tile('latency', 'Answers'), tile('lag', 'Loop lag'), tile('memory', 'Kept for clients')),
    h('.range', {}, note, ranges),
    h('.charts', {}, charts.map((c) => c.element)));

  // set fills a tile: text is a number and its unit, sub what stands below, a line each. part is how
  // much of a limit it is.
  const set = (id, text, more, sub, part, limited) => {
    const [number, unit] = text.split(' ');
    const t = tiles[id];
    t.big.replaceChildren(number, unit || more ? h('small', {}, (unit || '') + more) : '');
    t.sub.replaceChildren(...sub.map((line) => h('span', {}, line)));
    t.fill.style.width = Math.min(100, 100 * (part || 0)) + '%';
    t.fill.style.background = limited && part > .9 ? 'var(--bad)' : limited && part > .7 ? 'var(--warn)' : '';
  };
  const draw = () => {
    ranges.forEach((b) => b.setAttribute('aria-pressed', +b.dataset.s === range));
    const s = live.last, samples = live.samples.filter((y) => !y.gap), x = samples[samples.length - 1];
    if (!s) return;
    const {connections: c, messages: m, memory: kept} = s;
    set('conns', whole(c.now), '', [`of ${short(c.limit)}`, `${short(c.accepted)} accepted`], c.now / c.limit, true);
    set('memory', bytes(kept.clientsBytes), '', [`of ${bytes(kept.clientsLimitBytes)}`, `process ${bytes(kept.systemBytes)}`],
      kept.clientsBytes / kept.clientsLimitBytes, true);
    if (x) {
      const peak = (f) => Math.max(1e-9, ...samples.map(f));
      set('deliveries', short(x.deliveries), '/s', [`${short(x.publishes)} publishes/s`, plural(m.topics, 'topic')],
        x.deliveries / peak((y) => y.deliveries) * .7);
      set('bytes', bytes(x.out), '/s', [`${bytes(x.in)}/s received`], x.out / peak((y) => y.out) * .7);
      const lag = Math.max(...x.lags);
      set('lag', seconds(lag), '', [plural(s.loops.length, 'loop'), plural(s.panics, 'panic')], lag / .1, true);
      const answered = samples.slice(-RECENT).findLast((y) => y.p99 !== null);
      set('latency', answered ? seconds(answered.p99) : '–', answered ? ' p99' : '',
        [`${short(x.requests)} requests/s`, untimed(s) ? 'answered here, not timed' : `${short(s.requests.timedOut)} timed out`], answered ? answered.p99 / 5 : 0, true);
    }
    const from = Date.parse(s.time) / 1000 - range;
    const shown = live.samples.filter((y) => y.t >= from);
    note.textContent = samples.length < 2 ? 'gathering …'
      : `up ${seconds(s.uptimeSeconds)} · seen by this page: ${seconds(x.t - samples[0].t)}`;
    if (shown.length) for (const chart of charts) chart.draw(shown);
  };
  return {element, tick: draw, resize: draw, close: () => charts.forEach((c) => c.end())};
}
