// Charts of the samples. uPlot draws; this says what.
import {bytes, clock, css, h, seconds, short} from './dom.js';

const PALETTE = ['#2dd4bf', '#60a5fa', '#c084fc', '#fbbf24', '#f87171', '#a3e635', '#f472b6', '#94a3b8'];
const DARKER = ['#0d9488', '#2563eb', '#9333ea', '#b45309', '#dc2626', '#4d7c0f', '#be185d', '#64748b'];
const color = (i) => (document.documentElement.dataset.theme === 'light' ? DARKER : PALETTE)[i % PALETTE.length];

const values = (s, f) => s.map((x) => x.gap ? null : f(x));

// named makes a series of each name that an object of the samples has.
function named(s, f) {
  const names = new Set();
  for (const x of s) if (!x.gap) for (const n of Object.keys(f(x))) names.add(n);
  return [...names].map((n) => [n, values(s, (x) => f(x)[n] || 0)]);
}

const total = (list) => list.reduce((a, b) => a + b, 0);

// top keeps the series with the most in them, and adds up the rest.
function top(list, n) {
  list.sort((a, b) => total(b[1]) - total(a[1]));
  if (list.length <= n) return list;
  const rest = list.slice(n - 1);
  const others = rest[0][1].map((v, i) => v === null ? null : total(rest.map((r) => r[1][i])));
  return [...list.slice(0, n - 1), ['others', others]];
}

// lively leaves out series that are nothing all the time, but for the first few.
const lively = (list, few = 1) => list.filter(([, v], i) => i < few || v.some((x) => x));

// Steps between times, in seconds: a label has no fractions, and two of one second would be the same.
const SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];

// BINARY are the steps of an axis of bytes.
const BINARY = Array.from({length: 50}, (_, i) => 2 ** i);

function loops(s) {
  const x = s.findLast((x) => !x.gap);
  return (x ? x.lags : []).slice(0, 8).map((_, i) => ['loop ' + i, values(s, (x) => x.lags[i] ?? null)]);
}

// CHARTS say what their series are, given the samples, as [name, values].
export const CHARTS = [
  {title: 'Connections', unit: short, fill: true,
    series: (s) => lively([['open', values(s, (x) => x.now)], ...named(s, (x) => x.clients)])},
  {title: 'Messages a second', unit: short, fill: true,
    series: (s) => lively(['deliveries', 'publishes', 'requests', 'drops'].map((n) => [n, values(s, (x) => x[n])]), 3)},
  {title: 'Bytes a second', unit: bytes, fill: true,
    series: (s) => ['out', 'in'].map((n) => [n, values(s, (x) => x[n])])},
  {title: 'Latency of answers', unit: seconds, dots: true, none: 'no worker has answered; answers of --dev are not timed',
    series: (s) => ['p50', 'p99'].map((n) => [n, values(s, (x) => x[n])])},
  {title: 'Loop lag', unit: seconds, series: loops},
  {title: 'Backlogs', unit: bytes, fill: true, none: 'everybody keeps up',
    series: (s) => named(s, (x) => x.backlogs)},
  {title: 'Memory', unit: bytes, fill: true,
    series: (s) => [['process', 'system'], ['live heap', 'heap'], ['kept for clients', 'clientsBytes']]
      .map(([name, n]) => [name, values(s, (x) => x[n])])},
  {title: 'Closes a second, by reason', unit: short, bars: true, none: 'nobody has left',
    series: (s) => top(named(s, (x) => x.closed), 6)},
];

export class Chart {
  constructor(spec) {
    this.spec = spec;
    this.legend = h('.legend');
    this.plot = h('.plot', {'data-none': spec.none});
    this.element = h('section.card', {'aria-label': spec.title}, h('h3', {}, spec.title), this.legend, this.plot);
    this.shape = '';
  }

  draw(shown) {
    const series = this.spec.series(shown);
    const nothing = !series.some(([, v]) => v.some((x) => x));
    this.plot.classList.toggle('none', !!this.spec.none && nothing);
    const data = [shown.map((x) => x.t), ...series.map((s) => s[1])];
    const {clientWidth: width, clientHeight: height} = this.plot;
    const shape = [...series.map((s) => s[0]), document.documentElement.dataset.theme, width, height, shown.length === 1].join('|');
    if (shape !== this.shape || !this.uplot) this.build(series, data, shape);
    else this.uplot.setData(data);
    this.label(this.uplot.cursor.idx ?? data[0].length - 1);
  }

  build(series, data, shape) {
    this.shape = shape;
    this.names = series.map((s) => s[0]);
    this.uplot?.destroy();
    const unit = this.spec.unit, alone = data[0].length === 1;
    const axis = {stroke: css('--faint'), font: '11px ' + css('--sans'), ticks: {show: false}, gap: 8};
    this.uplot = new uPlot({
      width: Math.max(this.plot.clientWidth, 50), height: this.plot.clientHeight,
      legend: {show: false}, padding: [10, 4, 0, 0],
      cursor: {sync: {key: 'all'}, drag: {x: false, y: false}, points: {size: 6}, y: false},
      scales: {y: {range: (u, lo, hi) => [0, hi > 0 ? hi * 1.12 : 1]}},
      axes: [
        {...axis, grid: {show: false}, space: 80, size: 28, incrs: SECONDS, values: (u, list) => list.map((t) => clock(t * 1000))},
        {...axis, grid: {stroke: css('--line'), width: 1}, size: 60, space: 36,
          incrs: unit === bytes ? BINARY : undefined, values: (u, list) => list.map((v) => unit(v))},
      ],
      series: [{}, ...series.map(([name], i) => this.stroke(name, i, alone))],
      hooks: {setCursor: [(u) => this.label(u.cursor.idx ?? u.data[0].length - 1)]},
    }, data, this.plot);
  }

  stroke(name, i, alone) {
    const c = color(i), {dots, fill, bars} = this.spec;
    const s = {label: name, stroke: c, width: 1.75, points: {show: !!(dots || alone), size: 4, fill: c}};
    if (dots) s.spanGaps = true;
    if (fill && i < 2) {
      s.fill = (u) => {
        const g = u.ctx.createLinearGradient(0, u.bbox.top, 0, u.bbox.top + u.bbox.height);
        g.addColorStop(0, c + (i ? '26' : '4d'));
        g.addColorStop(1, c + '00');
        return g;
      };
    }
    if (bars) {
      s.paths = uPlot.paths.bars({size: [.9, 24]});
      s.fill = c + '99';
      s.points.show = false;
    }
    return s;
  }

  // label says in words what is at a place.
  label(i) {
    this.legend.replaceChildren(...this.names.map((name, n) => {
      const v = this.uplot.data[n + 1][i];
      const dot = h('i');
      dot.style.background = color(n);
      return h('span', {}, dot, name, h('b', {}, v === null || v === undefined ? '–' : this.spec.unit(v)));
    }));
  }

  end() { this.uplot?.destroy(); }
}
