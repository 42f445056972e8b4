// What is published to one topic, as it comes.
import {follow, one, refused} from './api.js';
import {bytes, clock, h, plural, toast} from './dom.js';

const KEPT = 500; // messages that are shown

const millis = (t) => (t.match(/\.(\d{1,3})/)?.[1] || '').padEnd(3, '0');

function line(m, fresh) {
  const text = (m.base64 ? 'base64 ' : '') + m.payload + (m.truncated ? ' …' : '');
  return h(fresh ? 'div.new' : 'div', {}, h('time', {}, clock(m.time) + '.' + millis(m.time)), h('span.size', {}, bytes(m.bytes)), h('pre', {}, text));
}

const lost = (n) => h('div.lost', {}, h('time'), h('span.size'),
  h('pre', {}, `${plural(n, 'message')} so far were not shown: more come than the page takes`));

export function tail(topic) {
  let stop = null, seen = 0, waiting = [], drawn = 0;
  const name = h('input', {type: 'search', placeholder: 'Topic  ( / )', 'aria-label': 'Topic', value: topic || ''});
  const last = h('input.last', {type: 'number', min: 0, max: 1000, placeholder: 'Last',
    title: 'Begin with so many messages that the topic has kept', 'aria-label': 'Messages that the topic has kept, to begin with'});
  const count = h('span.count'), button = h('button.btn.go', {}, 'Follow');
  const empty = h('.empty', {}, h('b', {}, 'Watch a topic'),
    'Its messages show up here as they are published. Following never slows a publisher down. In a terminal:',
    h('code', {}, 'sluice publish news hello'));
  const log = h('.log', {tabIndex: 0, 'aria-label': 'Messages'}, empty);
  // Messages are drawn at most once a frame, and only those that stay.
  const draw = () => {
    const bottom = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    const fresh = performance.now() - drawn > 500; // lights up, unless many come
    drawn = performance.now();
    log.append(...waiting.slice(-KEPT).map((f) => f(fresh)));
    waiting = [];
    while (log.children.length > KEPT) log.firstChild.remove();
    if (bottom) log.scrollTop = log.scrollHeight;
    if (seen) count.textContent = plural(seen, 'message');
  };
  const add = (f) => {
    waiting.push(f);
    if (waiting.length > 2 * KEPT) waiting = waiting.slice(-KEPT);
    if (waiting.length === 1) requestAnimationFrame(draw);
  };
  const end = () => {
    stop?.abort();
    stop = null;
    button.textContent = 'Follow';
    button.className = 'btn go';
  };
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
      await follow(one('topics', 'name', name.value, '/tail', {last: last.value > 0 && last.value}), mine.signal, (event, m) => {
        if (event === 'open') count.textContent = 'listening';
        if (event === 'dropped') add(() => lost(m.dropped));
        if (event !== 'message') return;
        seen++;
        add((fresh) => line(m, fresh));
      });
    } catch (e) {
      if (mine.signal.aborted) return;
      end();
      count.textContent = 'ended';
      if (!refused(e)) toast(e.message, true);
    }
  };
  const form = h('form.bar', {onsubmit: (e) => { e.preventDefault(); if (stop) end(); else begin(); }},
    h('h2', {}, 'Tail'), count, h('span.grow'), name, last, button,
    h('button.btn', {type: 'button', onclick: () => log.replaceChildren()}, 'Clear'));
  if (topic) begin();
  return {element: h('', {}, form, log), filter: name, close: end};
}
