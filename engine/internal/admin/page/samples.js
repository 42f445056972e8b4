// Counters over time: what each second was like, for the last quarter of an hour.
import {sum} from './dom.js';

const KEEP = 900; // seconds

// live is what the page knows: the latest counters, and samples, newest last.
export const live = {last: null, samples: []};

// quantile returns the bound below which a part of what was counted since before is.
function quantile(now, before, q) {
  const counts = now.counts.map((n, i) => n - (before ? before.counts[i] : 0));
  const all = counts.reduce((a, b) => a + b, 0);
  if (all <= 0) return null;
  let seen = 0;
  for (let i = 0; i < counts.length; i++) {
    seen += counts[i];
    if (seen >= q * all) return now.bounds[Math.min(i, now.bounds.length - 1)];
  }
  return null;
}

// begun is when a gateway was started, in seconds.
const begun = (s) => Date.parse(s.time) / 1000 - s.uptimeSeconds;

// take adds counters that have come.
export function take(s) {
  const before = live.last, samples = live.samples;
  live.last = s;
  if (!before) return;
  if (s.uptimeSeconds <= before.uptimeSeconds || Math.abs(begun(s) - begun(before)) > 5) {
    gap(); // another process: its counters begin anew
    return;
  }
  const dt = s.uptimeSeconds - before.uptimeSeconds;
  if (dt > 5) gap();
  const rate = (f) => Math.max(0, (f(s) - f(before)) / dt);
  const closed = {};
  for (const kind of ['closed', 'refused']) {
    for (const [why, n] of Object.entries(s.connections[kind])) {
      closed[why] = (closed[why] || 0) + Math.max(0, (n - (before.connections[kind][why] || 0)) / dt);
    }
  }
  const k = s.memory.kinds;
  samples.push({
    t: Date.parse(s.time) / 1000, clients: s.connections.clients, now: s.connections.now,
    deliveries: rate((x) => x.messages.deliveries), publishes: rate((x) => x.messages.publishes),
    requests: rate((x) => x.requests.all), drops: rate((x) => sum(x.messages.drops)),
    in: rate((x) => x.messages.receivedBytes), out: rate((x) => x.messages.sentBytes),
    p50: quantile(s.latency, before.latency, .5), p99: quantile(s.latency, before.latency, .99),
    lags: s.loops.map((l) => l.lagSeconds), closed,
    backlogs: {
      unsent: k.unsent, shared: k.shared, input: k.input + k.fragments,
      workers: k['link-queue'] + k['link-delayed'],
    },
    clientsBytes: s.memory.clientsBytes, heap: s.memory.heapBytes, system: s.memory.systemBytes,
  });
  while (samples.length > KEEP) samples.shift();
}

// gap has charts show that nothing is known of a time.
function gap() {
  const x = live.samples[live.samples.length - 1];
  if (x && !x.gap) live.samples.push({t: x.t + 1, gap: true});
}

// The samples outlive a reload of the page: they are kept in the tab.
const NAME = 'samples';

export function save() {
  try {
    sessionStorage.setItem(NAME, JSON.stringify(live));
  } catch { /* no room: then not */ }
}

export function restore() {
  let old = null;
  try {
    old = JSON.parse(sessionStorage.getItem(NAME));
    sessionStorage.removeItem(NAME);
  } catch { /* not ours */ }
  const at = old?.samples?.[old.samples.length - 1]?.t;
  if (!(Date.now() / 1000 - at < KEEP)) return;
  live.last = old.last;
  live.samples.push(...old.samples);
}
