// Topics that have subscribers, and a form to publish to one.
import {act, polled, queryOf, read} from './api.js';
import {h, later, plural, short, whole} from './dom.js';
import {table} from './table.js';

export function topics(_, show) {
  let sort = '-subscribers', limit = 200;
  const search = h('input', {type: 'search', placeholder: 'Topic  ( / )', 'aria-label': 'Filter', oninput: later(() => p.now(), 200)});
  const count = h('span.count');
  const name = h('input', {required: true, placeholder: 'news', name: 'topic'});
  const payload = h('textarea', {placeholder: 'hello', name: 'payload'});
  const t = table([
    {title: 'Topic', sort: 'name', value: (x) => x.topic},
    {title: 'Subscribers', num: true, sort: 'subscribers', value: (x) => whole(x.subscribers)},
    {title: 'Rate', num: true, sort: 'messagesPerSecond', value: (x) => short(x.messagesPerSecond) + '/s'},
    {title: 'Messages', num: true, sort: 'messages', wide: true, value: (x) => short(x.messages)},
    {title: 'Deliveries', num: true, sort: 'deliveries', wide: true, value: (x) => short(x.deliveries)},
    {title: '', button: (row) => h('span.buttons', {},
      h('button.btn.small.wide', {onclick: () => show('connections', row().topic)}, 'Who'),
      h('button.btn.small', {onclick: () => show('tail', row().topic)}, 'Tail'))},
  ], {
    key: (x) => x.topic, sorted: () => sort, onsort: (s) => { sort = s; p.now(); },
    onrow: (x) => { name.value = x.topic; payload.focus(); },
  });
  const more = h('.more', {hidden: true}, h('button.btn', {onclick: () => { limit = 1000; p.now(); }}, 'Show more'));
  const p = polled(async () => {
    const page = await read('topics?' + queryOf({sort, limit, search: search.value}));
    count.textContent = `${whole(page.total)} with subscribers`;
    more.hidden = page.topics.length < limit || limit === 1000;
    t.rows(page.topics, search.value ? ['No such topic', 'No topic with subscribers matches the filter.'] : ['Nobody has subscribed',
      'A topic is there as long as somebody listens to it. Listen to one, and publish to it with the form:',
      h('code', {}, 'sluice watch news')]);
  }, 2000);
  const form = h('form.card.form', {onsubmit: async (e) => {
    e.preventDefault();
    await act('publish', {topic: name.value, payload: payload.value}, (a) =>
      `Published to ${plural(a.subscribers, 'subscriber')}${a.elsewhere ? ' here, and to other gateways' : ''}${a.kept ? ', and kept' : ''}`);
    p.now();
  }}, h('h3', {}, 'Publish a message'), h('label', {}, 'Topic', name), h('label', {}, 'Payload', payload),
  h('button.btn.go', {}, 'Publish'));
  return {
    element: h('', {}, h('.bar', {}, h('h2', {}, 'Topics'), count, h('span.grow'), search), h('.grid2', {}, h('', {}, t.element, more), form)),
    filter: search, first: t.first, close: p.stop,
  };
}
