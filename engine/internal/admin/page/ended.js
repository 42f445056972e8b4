// Connections that have ended, and those that were refused.
import {polled, queryOf, read} from './api.js';
import {called} from './connections.js';
import {bytes, clock, h, later, seconds, whole} from './dom.js';
import {live} from './samples.js';
import {table} from './table.js';

const GRACEFUL = ['peer-closed', 'client-close', 'shutdown', 'disconnected'];

export function ended() {
  let limit = 200;
  const search = h('input', {
    type: 'search', placeholder: 'User, uniqId or address  ( / )', 'aria-label': 'Filter', oninput: later(() => p.now(), 200),
  });
  const reason = h('select', {'aria-label': 'Reason', onchange: () => p.now()}, h('option', {value: ''}, 'all reasons'));
  const count = h('span.count');
  const tag = (c) => h('span.tag' + (c.refused ? '.bad' : GRACEFUL.includes(c.reason) ? '' : '.warn'), {}, c.reason);
  const t = table([
    {title: 'When', value: (c) => clock(c.time)}, {title: 'Reason', value: tag},
    {title: 'User', value: (c) => called(c, '–')},
    {title: 'uniqId', cls: 'mono', wide: true, value: (c) => c.uniqId || '–'},
    {title: 'Protocol', wide: true, value: (c) => c.protocol},
    {title: 'Address', cls: 'mono', wide: true, value: (c) => c.peer},
    {title: 'Lasted', num: true, value: (c) => c.refused ? 'refused' : seconds(c.seconds)},
    {title: 'In', num: true, wide: true, value: (c) => bytes(c.bytesIn)},
    {title: 'Out', num: true, wide: true, value: (c) => bytes(c.bytesOut)},
  ]);
  const more = h('.more', {hidden: true}, h('button.btn', {onclick: () => { limit = 1000; p.now(); }}, 'Show more'));
  const p = polled(async () => {
    const page = await read('closed?' + queryOf({limit, search: search.value, reason: reason.value}));
    const {closed, refused} = live.last?.connections || {};
    const known = new Set([...reason.options].map((o) => o.value));
    for (const why of Object.keys({...closed, ...refused}).sort()) {
      if (!known.has(why)) reason.append(h('option', {value: why}, why));
    }
    count.textContent = `${whole(page.total)} since the start, ${whole(page.kept)} remembered`;
    more.hidden = !page.next || limit === 1000;
    t.rows(page.closed, search.value || reason.value ? ['None of that kind', 'No end that is remembered matches the filter.'] : ['Nobody has left yet',
      'The last 10,000 ends and refusals show up here, each with the reason that log and metrics have for it, too.']);
  }, 2000);
  return {
    element: h('', {}, h('.bar', {}, h('h2', {}, 'Ended connections'), count, h('span.grow'), search, reason), t.element, more),
    filter: search, close: p.stop,
  };
}
