// Who is connected: sorted, filtered, one by one, and kicked.
import {act, one, polled, queryOf, read, refused} from './api.js';
import {bytes, h, later, plural, short, since, sure, toast, whole} from './dom.js';
import {table} from './table.js';

const MOST = 1000; // rows that the gateway gives at a time

export function stateTag(c) {
  if (c.stalled) return h('span.tag.bad', {}, 'stalled');
  if (c.congested) return h('span.tag.warn', {}, 'congested');
  return h('span.tag' + (c.state === 'online' ? '.good' : ''), {}, c.state);
}

// called is a user's name, below which there is on a phone what tells connections apart.
export const called = (c, nobody) => h('span', {title: c.user || undefined}, c.user || h('span.dim', {}, nobody), h('span.narrow.mono.dim', {}, c.uniqId || c.peer));

const whoIs = (c) => c.user || c.uniqId || c.peer;

async function kick(c) {
  if (!await sure(`Kick ${whoIs(c)}?`, 'The connection ends, and its session with it.', 'Kick')) return false;
  return act('kick', {connection: c.connection}, () => `${whoIs(c)} was kicked`);
}

export function connections(topic) {
  let sort = '-since', limit = 100;
  const search = h('input', {
    type: 'search', placeholder: 'User, uniqId or address  ( / )', 'aria-label': 'Filter', oninput: later(() => p.now(), 200),
  });
  const choice = (label, list) => h('select', {'aria-label': label, onchange: () => p.now()},
    list.map(([value, text]) => h('option', {value}, text)));
  const protocol = choice('Protocol', [['', 'all protocols'], ['gosoc', 'gosoc'], ['longbridge', 'longbridge'], ['netsvr', 'netsvr']]);
  const state = choice('State', [['', 'all states'], ['congested', 'slow ones'], ['online', 'online'],
    ['login', 'login'], ['opening', 'opening'], ['attached', 'attached']]);
  const count = h('span.count');
  const of = h('button.btn.small', {hidden: !topic, title: 'Show all', onclick: () => {
    topic = '';
    of.hidden = true;
    p.now();
  }}, `of ${topic}  ×`);
  const t = table([
    {title: 'User', sort: 'user', value: (c) => called(c, 'anonymous')},
    {title: 'uniqId', cls: 'mono', wide: true, value: (c) => c.uniqId || '–'},
    {title: 'Protocol', wide: true, value: (c) => c.protocol},
    {title: 'State', value: stateTag},
    {title: 'Address', cls: 'mono', wide: true, value: (c) => c.peer},
    {title: 'Age', num: true, sort: 'since', turned: true, value: (c) => since(c.since)},
    {title: 'In', num: true, sort: 'bytesIn', wide: true, value: (c) => bytes(c.bytesIn)},
    {title: 'Out', num: true, sort: 'bytesOut', value: (c) => bytes(c.bytesOut)},
    {title: 'Messages out', num: true, sort: 'messagesOut', wide: true, value: (c) => short(c.messagesOut)},
    {title: 'Lag', num: true, sort: 'lagBytes', wide: true, value: (c) => c.lagBytes ? bytes(c.lagBytes) : '–'},
    {title: 'Memory', num: true, sort: 'memoryBytes', wide: true, value: (c) => bytes(c.memoryBytes)},
    {title: 'Topics', num: true, sort: 'topics', wide: true, value: (c) => short(c.topics)},
    {title: '', button: (row) => h('button.btn.small.danger', {onclick: async () => { if (await kick(row())) p.now(); }}, 'Kick')},
  ], {
    key: (c) => c.connection, sorted: () => sort, onrow: (c) => detail(c.connection),
    onsort: (s) => { sort = s; p.now(); },
  });
  const more = h('button.btn', {onclick: () => { limit = Math.min(MOST, limit * 4); p.now(); }}, 'Show more');
  const foot = h('.more', {hidden: true}, more);
  const p = polled(async () => {
    const slow = state.value === 'congested';
    const page = await read('connections?' + queryOf({
      sort, limit, once: 'true', search: search.value, topic, protocol: protocol.value,
      state: slow ? '' : state.value, congested: slow && 'true',
    }));
    count.textContent = page.matched > page.connections.length
      ? `${whole(page.connections.length)} of ${whole(page.matched)}` : plural(page.matched, 'connection');
    foot.hidden = page.matched <= page.connections.length || limit >= MOST;
    const filtered = search.value || protocol.value || state.value || topic;
    t.rows(page.connections, filtered ? ['Nobody of that kind', 'No connection matches the filter.'] : ['Nobody is here',
      'Clients that connect to an address of --listen show up here. For a crowd to look at:',
      h('code', {}, 'sluice-bench idle -c 100 --token-prefix user-')]);
  }, 2000);
  return {
    element: h('', {}, h('.bar', {}, h('h2', {}, 'Connections'), count, of, h('span.grow'), search, protocol, state), t.element, foot),
    filter: search, first: t.first, close: p.stop,
  };
}

const pair = (name, v) => [h('dt', {}, name), h('dd', {}, v)];
const chips = (list) => list.length ? h('.chips', {}, list) : '–';
const facts = (m) => chips(Object.entries(m).map(([k, v]) => h('span.tag.mono', {}, `${k}: ${v}`)));

function encryption(t) {
  if (!t) return 'none';
  const list = [t.version, t.cipherSuite, t.resumed && 'resumed', t.alpn, t.serverName && 'for ' + t.serverName, t.clientSubject];
  return list.filter(Boolean).join(' · ');
}

function facets(c) {
  const topics = c.topicNames.map((x) => h('span.tag', {}, x));
  return [
    pair('uniqId', h('span.mono', {}, c.uniqId || '–')), pair('connection', h('span.mono', {}, c.connection)),
    pair('protocol', c.protocol), pair('address', h('span.mono', {}, c.peer)),
    pair('since', `${new Date(c.since).toLocaleString('en')} · ${since(c.since)}`),
    pair('received', `${bytes(c.bytesIn)} · ${plural(c.messagesIn, 'message')}`),
    pair('sent', `${bytes(c.bytesOut)} · ${plural(c.messagesOut, 'message')}`),
    pair('waits to be sent', `${bytes(c.unsentBytes)} of its own · ${bytes(c.lagBytes)} of what was published · ${whole(c.queue)} queued`),
    pair('not handled yet', bytes(c.inputBytes) + (c.paused ? ' · reading is paused' : '')),
    pair('memory', bytes(c.memoryBytes)), pair('requests waiting', whole(c.pendingRequests)),
    pair('listener · loop', `${c.listener} · ${c.loop}`), pair('encryption', encryption(c.tls)),
    pair('session', (c.session || '–') + (c.resumable ? ' · can be resumed' : '')),
    pair('says of itself', facts(c.metadata)), pair('login vouches for', facts(c.claims)),
    pair(`topics (${whole(c.topics)})`, c.topicNamesTruncated ? 'too many to list' : chips(topics)),
  ];
}

// detail shows all that is known of one connection beside the page, as long as it is there.
async function detail(id) {
  let c;
  const ask = async () => { c = await read(one('connections', 'id', id)); };
  try {
    await ask();
  } catch (e) {
    if (!refused(e)) toast(e.message, true);
    return;
  }
  const list = h('dl'), state = h('span'), name = h('h2');
  const draw = () => {
    name.textContent = c.user || 'anonymous';
    state.replaceChildren(stateTag(c));
    if (getSelection().isCollapsed || !list.contains(getSelection().anchorNode)) list.replaceChildren(...facets(c).flat());
  };
  draw();
  const disconnect = () => act('disconnect', {connection: c.connection}, () => `${whoIs(c)} was disconnected`);
  const over = (f) => async () => { if (await f()) d.close(); };
  const end = h('button.btn.danger', {onclick: over(() => kick(c))}, 'Kick'), cut = h('button.btn', {onclick: over(disconnect)}, 'Disconnect');
  const d = h('dialog.side', {'aria-label': 'Connection'},
    h('.bar', {}, name, state, h('span.grow'), h('button.btn.small', {onclick: () => d.close()}, 'Close')), list,
    h('.bar', {}, end, cut, h('span.dim', {}, 'Whom you disconnect may come back.')));
  const p = polled(async () => {
    try {
      await ask();
      draw();
    } catch (e) {
      if (e.status !== 404) throw e;
      state.replaceChildren(h('span.tag.bad', {}, 'has left'));
      end.disabled = cut.disabled = true;
      p.stop();
    }
  }, 2000);
  d.addEventListener('close', () => { p.stop(); d.remove(); });
  document.body.append(d);
  d.showModal();
}
