// The API, as the page asks it. All that the page shows and does goes through here.
import {toast} from './dom.js';

let token = sessionStorage.getItem('token') || '';

export const hasToken = () => token !== '';

// use has all requests show a token from now on. It is kept in the tab when the gateway has taken it.
export function use(text) { token = text; }
export const keep = () => sessionStorage.setItem('token', token);
export function forget() {
  token = '';
  sessionStorage.removeItem('token');
}

class Refusal extends Error {
  constructor(status, code, message) { super(message); this.status = status; this.code = code; }
}

// Gone is thrown when nobody answers.
export class Gone extends Error {}

async function ask(path, {body, signal} = {}) {
  const headers = token ? {Authorization: 'Bearer ' + token} : {};
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let r;
  try {
    r = await fetch('/api/v1/' + path, {
      method: body === undefined ? 'GET' : 'POST', headers, signal, cache: 'no-store',
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (e) {
    if (signal?.aborted) throw e;
    throw new Gone('The gateway does not answer.');
  }
  if (r.ok) return r;
  let e = {code: 'unknown', message: 'the gateway answers ' + r.status};
  try { e = await r.json(); } catch { /* not ours */ }
  throw new Refusal(r.status, e.code, e.message);
}

export const read = async (path, options) => (await ask(path, options)).json();

// one is the path of one thing of a list. What it is called is a parameter: in the path a browser
// takes . and .. for steps.
export const one = (list, key, name, rest = '', params = {}) => `${list}/-${rest}?${queryOf({...params, [key]: name})}`;

// onRefused is what is done when a token is missing or wrong.
let onRefused = () => {};
export function whenRefused(f) { onRefused = f; }

// refused reports whether it is the token that is missing, and has it asked for.
export function refused(e) {
  const forbidden = e.status === 403 && e.code === 'forbidden';
  if (e.status !== 401 && !forbidden && e.status !== 429) return false;
  onRefused(e);
  return true;
}

// act does something, and says how it went.
export async function act(path, body, done) {
  try {
    toast(done(await read(path, {body})));
    return true;
  } catch (e) {
    if (!refused(e)) toast(e.message, true);
    return false;
  }
}

// follow reads server-sent events until the stream ends, which is an error unless it was called off.
export async function follow(path, signal, each) {
  const r = await ask(path, {signal});
  const reader = r.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    let got;
    try {
      got = await reader.read();
    } catch (e) {
      if (signal.aborted) throw e;
      got = {done: true};
    }
    if (got.done) throw new Gone('The gateway has ended the stream.');
    rest += got.value;
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

// polled calls f at once and then every so often, one call at a time, while the page is looked at.
// A gateway that does not answer is said at the top of the page, and not here.
export function polled(f, ms) {
  let on = true, running = false, again = false;
  const run = async () => {
    if (!on || document.hidden) return;
    if (running) { again = true; return; }
    running = true;
    try {
      await f();
    } catch (e) {
      if (on && !(e instanceof Gone) && !refused(e)) toast(e.message, true);
    }
    running = false;
    if (again) { again = false; run(); }
  };
  const tick = () => { if (!running) run(); };
  const timer = setInterval(tick, ms);
  document.addEventListener('visibilitychange', tick);
  run();
  return {now: run, stop: () => {
    on = false;
    clearInterval(timer);
    document.removeEventListener('visibilitychange', tick);
  }};
}

export const queryOf = (o) => {
  const given = Object.entries(o).filter(([, v]) => v);
  return new URLSearchParams(given).toString();
};
