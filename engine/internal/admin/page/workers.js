// Workers' links, and the event loops.
import {polled, read} from './api.js';
import {bytes, h, plural, seconds, short, since, whole} from './dom.js';
import {table} from './table.js';

const time = (f) => (x) => seconds(f(x));

function stateOf(w) {
  if (w.standsStill) return h('span.tag.bad', {}, 'stands still');
  if (!w.registered) return h('span.tag.warn', {}, 'not registered');
  return h('span.tag.good', {}, w.takesRequests ? 'takes requests' : 'takes messages');
}

export function workers() {
  const count = h('span.count');
  const t = table([
    {title: 'Worker', value: (w) => w.registered ? h('b', {}, String(w.workerId)) : '–'},
    {title: 'Address', cls: 'mono', value: (w) => w.peer}, {title: 'State', value: stateOf},
    {title: 'Age', num: true, wide: true, value: (w) => since(w.since)},
    {title: 'Silent', num: true, wide: true, value: time((w) => w.silentSeconds)},
    {title: 'To it', num: true, wide: true, value: (w) => short(w.sent)},
    {title: 'From it', num: true, wide: true, value: (w) => short(w.received)},
    {title: 'Queue', num: true, wide: true, value: (w) => `${bytes(w.queueBytes)} of ${bytes(w.queueLimitBytes)}`},
    {title: 'Answers', num: true, value: (w) => short(w.latency.count)},
    {title: 'p50', num: true, wide: true, value: (w) => w.latency.count ? seconds(w.latency.p50) : '–'},
    {title: 'p99', num: true, value: (w) => w.latency.count ? seconds(w.latency.p99) : '–'},
  ], {key: (w) => w.link});
  const l = table([
    {title: 'Loop', value: (x) => h('b', {}, String(x.loop))},
    {title: 'Connections', num: true, value: (x) => whole(x.connections)},
    {title: 'Lag', num: true, value: time((x) => x.lagSeconds)},
    {title: 'Turn p50', num: true, wide: true, value: time((x) => x.turns.p50)},
    {title: 'Turn p99', num: true, value: time((x) => x.turns.p99)},
    {title: 'Longest', num: true, wide: true, value: time((x) => x.longestTurnSeconds)},
    {title: 'Mailbox', num: true, wide: true, value: (x) => `${short(x.mailboxMessages)} · ${bytes(x.mailboxBytes)}`},
    {title: 'Watched', num: true, wide: true, value: (x) => short(x.watched)},
    {title: 'Congested', num: true, wide: true, value: (x) => short(x.congested)},
    {title: 'Deferred', num: true, wide: true, value: (x) => short(x.deferredPublishes)},
  ], {key: (x) => x.loop});
  const p = polled(async () => {
    const [w, loops] = await Promise.all([read('workers'), read('loops')]);
    count.textContent = `${plural(w.workers.length, 'link')} · ${short(w.latency.count)} answered by workers`;
    t.rows(w.workers, !w.listens ? ['No workers here', 'This gateway does not serve any: it was started with --worker none.'] : ['No worker is here',
      'Workers that connect to the address of --worker show up here with the latency of their answers. Until one does, a gateway ' +
      'started with --dev answers the sluice.* requests itself.']);
    l.rows(loops.loops, ['No loops', '']);
  }, 2000);
  return {
    element: h('', {}, h('.bar', {}, h('h2', {}, 'Workers'), count), t.element,
      h('.bar.second', {}, h('h2', {}, 'Event loops')), l.element),
    close: p.stop,
  };
}
