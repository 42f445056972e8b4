// Tables that are filled again and again. Rows that stay keep their elements, so that what is selected,
// focused or about to be clicked stays where it is.
import {h, words} from './dom.js';

// same reports whether an element's content is what it would be made of anyway.
function same(td, v) {
  if (typeof v === 'string') return td.childElementCount === 0 && td.textContent === v;
  return td.childNodes.length === 1 && td.firstChild.isEqualNode(v);
}

// table makes one of rows that are objects. Columns are {title, value, num, sort, turned, cls, wide,
// button}: turned ones show what falls when what they are sorted by rises, as an age does with a time;
// wide ones are left out on a phone; button makes what acts on the row that it is given a function of.
// key names a row.
export function table(columns, {key, onsort, onrow, sorted} = {}) {
  const body = h('tbody'), head = h('tr'), end = columns.findLast((c) => !c.wide); // the last one on a phone
  const order = (c, how) => how === 'down' ? '-' + c.sort : c.sort;
  const drawHead = () => head.replaceChildren(...columns.map((c) => {
    const down = c.sort && sorted() === order(c, 'down'), up = c.sort && sorted() === order(c, 'up');
    const falls = c.turned ? up : down, rises = c.turned ? down : up; // as what is shown does
    const label = c.title + (falls ? ' ↓' : rises ? ' ↑' : '');
    const click = () => {
      onsort(order(c, down ? 'up' : 'down'));
      drawHead();
    };
    const th = h(cell('th', c), {scope: 'col'}, c.sort ? h('button', {onclick: click}, label) : h('span', {}, label));
    if (down || up) th.setAttribute('aria-sort', falls ? 'descending' : 'ascending');
    return th;
  }));
  const cell = (tag, c) => {
    const inside = tag === 'td' && (c.button ? '.act' : c.cls ? '.' + c.cls : '');
    return tag + (c.num ? '.num' : '') + (inside || '') + (c.wide ? '.wide' : '') + (c === end ? '.end' : '');
  };
  if (!sorted) sorted = () => '';
  drawHead();
  const element = h('.table', {}, h('table', {}, h('thead', {}, head), body));

  const fill = (td, v) => {
    if (same(td, v)) return;
    td.replaceChildren(v);
    if (typeof v === 'string' && v.length > 30) td.title = v; else td.removeAttribute('title');
  };
  const make = (name) => {
    const tr = h(onrow ? 'tr.link' : 'tr', {tabIndex: onrow ? 0 : undefined}, columns.map((c) => h(cell('td', c))));
    tr.name = name;
    if (onrow) {
      tr.addEventListener('click', (e) => {
        const marking = !getSelection().isCollapsed && tr.contains(getSelection().anchorNode);
        if (!e.target.closest('button') && !marking) onrow(tr.row);
      });
    }
    return tr;
  };
  element.addEventListener('keydown', (e) => {
    const tr = e.target;
    if (tr.tagName !== 'TR') return;
    const to = {ArrowDown: tr.nextElementSibling, ArrowUp: tr.previousElementSibling,
      Home: body.firstElementChild, End: body.lastElementChild}[e.key];
    if (to) to.focus();
    else if (e.key === 'Enter') onrow?.(tr.row);
    else return;
    e.preventDefault();
  });
  return {
    element, body,
    first: () => body.querySelector('tr.link')?.focus(),
    rows: (list, none) => {
      if (!list.length) {
        body.replaceChildren(h('tr.none', {}, h('td', {colSpan: columns.length}, h('.empty', {}, h('b', {}, none[0]), none.slice(1).map((x) => typeof x === 'string' ? words(x) : x)))));
        return;
      }
      const old = new Map([...body.children].filter((tr) => tr.name !== undefined).map((tr) => [tr.name, tr]));
      const focus = document.activeElement;
      let at = body.firstChild;
      list.forEach((row, i) => {
        const name = String(key ? key(row) : i);
        const tr = old.get(name) || make(name);
        old.delete(name);
        tr.row = row;
        columns.forEach((c, n) => {
          const td = tr.children[n];
          // A button acts on what its row is now: it is made once.
          if (c.button) { if (!td.firstChild) td.append(c.button(() => tr.row)); } else fill(td, c.value(row));
        });
        if (tr === at) at = at.nextSibling;
        else body.insertBefore(tr, at);
      });
      while (at) { const next = at.nextSibling; at.remove(); at = next; }
      if (focus !== document.activeElement && body.contains(focus)) focus.focus({preventScroll: true});
    },
  };
}
