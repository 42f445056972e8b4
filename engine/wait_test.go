package engine

import "testing"

// What a message waits for, by what its publisher sees at that moment.
func TestMayGo(t *testing.T) {
	for _, tt := range []struct {
		name      string
		sight     sight // progress is ms before now
		waited    int64 // ms
		owed      int64 // ms
		want      bool
		wantOwing int64 // ms
	}{
		{"nobody is congested", sight{receivers: 5}, 0, 0, true, 0},
		{"one of ten, which takes bytes", sight{receivers: 10, congested: 1}, 5000, 0, false, 0},
		{"one of eleven is a minority", sight{receivers: 11, congested: 1, progress: 3}, 0, 0, true, 0},
		{"a minority that takes bytes at this moment", sight{receivers: 11, congested: 1, progress: 1}, 1, 0, false, 0},
		{"but for no longer than a moment", sight{receivers: 11, congested: 1, progress: 1}, minorityWait, 0, true, 0},
		{"the only one", sight{receivers: 1, congested: 1}, 5000, 0, false, 0},
		{"all of a thousand", sight{receivers: 1000, congested: 1000}, 60_000, 0, false, 0},
		{"a silence that is none yet", sight{receivers: 1, congested: 1, progress: quiet}, quiet, 0, false, 0},
		{"a silence is charged with the quiet time", sight{receivers: 1, congested: 1, progress: 150}, 150, 0, false, 150},
		{"but not the part before the message", sight{receivers: 1, congested: 1, progress: 5000}, 30, 0, false, 30},
		{"who owes all he may does not wait", sight{receivers: 1, congested: 1, progress: 500}, 500, 0, true, 500},
		{"nor who owed before", sight{receivers: 1, congested: 1, progress: 200}, 0, debtLimit, true, debtLimit},
		{"but does for those who take bytes", sight{receivers: 1, congested: 1, progress: quietOwing}, 0, debtLimit, false, debtLimit},
		{"a crowd halfway to its limits may be silent for a second", sight{receivers: 10, congested: 1, progress: 1000, behind: 500_000}, 0, debtLimit, false, debtLimit},
		{"but not for longer", sight{receivers: 10, congested: 1, progress: 1001, behind: 500_000}, 0, debtLimit, true, debtLimit},
		{"nor without a debt", sight{receivers: 10, congested: 1, progress: 1001, behind: 500_000}, 50, 0, false, 50},
		{"one of few may not", sight{receivers: 9, congested: 1, progress: 1000, behind: 500_000}, 0, debtLimit, true, debtLimit},
		{"nor a crowd at the stall timeout", sight{receivers: 100, congested: 100, progress: stallTimeout + 1, behind: 999_999}, 0, debtLimit, true, debtLimit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const now = 1_000_000
			w := wait{begun: now - tt.waited}
			s := tt.sight
			s.progress = now - s.progress
			if s.standing = now - tt.sight.standing; tt.sight.standing == 0 {
				s.standing = s.progress
			}
			var d debt
			d.charge(now, tt.owed)
			if got := w.mayGo(&s, &d, now); got != tt.want {
				t.Errorf("may go: %v, want %v", got, tt.want)
			}
			if got := d.owed(now); got != tt.wantOwing {
				t.Errorf("owes %d ms, want %d", got, tt.wantOwing)
			}
		})
	}
}

// A silence is charged once, however often it is looked at, and whoever takes a turn in it.
func TestSilenceIsChargedOnce(t *testing.T) {
	var d debt
	w := wait{begun: 1000}
	s := sight{receivers: 1, congested: 1, standing: 1000}
	for now := int64(1000); now < 1400; now++ {
		w.mayGo(&s, &d, now)
	}
	if got := d.owed(1399); got < 350 || got > 400 { // a tenth of the time since is repaid, in steps
		t.Errorf("399 ms of silence are charged as %d", got)
	}
	s.standing = 1400
	w.mayGo(&s, &d, 1401)
	before := d.owed(1501)
	for now := int64(1501); now < 1520; now++ {
		w.mayGo(&s, &d, now)
	}
	if got := d.owed(1519) - before; got < 110 || got > 120 {
		t.Errorf("the next 119 ms of silence are charged as %d", got)
	}
}

// In the long run a source waits in silence for a tenth of its time, and debtLimit once, whatever the
// stalls are.
func TestDebtIsATenth(t *testing.T) {
	for _, stall := range []int64{150, 400, 1000, 5000} {
		var d debt
		waiting := int64(0)
		w := wait{begun: -1}
		var progress int64
		const minutes = 10 * 60_000
		for now := int64(0); now < minutes; now++ {
			if now%(2*stall) < stall {
				progress = now // half of the time it takes bytes, and is not congested
				w.begun = -1
				continue
			}
			if w.begun < 0 {
				w = wait{begun: now}
			}
			if !w.mayGo(&sight{receivers: 5, congested: 1, progress: progress, standing: progress}, &d, now) {
				waiting++
			} else {
				w.begun = -1
			}
		}
		// Two looks of each stall come on top: so long it takes to see that it is one.
		stalls := int64(minutes) / (2 * stall)
		if limit := debtLimit + minutes/debtPart + stalls*(quietOwing+1); waiting > limit {
			t.Errorf("stalls of %d ms: waited %d ms of %d, at most %d", stall, waiting, minutes, limit)
		}
		t.Logf("stalls of %d ms: waited %.3f of the time", stall, float64(waiting)/minutes)
	}
}

// What each wait of a loop's client is charged to is forgotten when it is paid off.
func TestDebtsOfClientsAreForgotten(t *testing.T) {
	l := bareLoop(t, Config{})
	c := bareConn(t, l, 0)
	c.Subscribe([]byte("t"))
	for range 3 * maxDebts {
		p := bareConn(t, l, 0)
		l.deferPublish(l.publisher.newRun(&audience{kind: everyClient}, Push{Payload: []byte("x")}), p)
		p.Abort(ReasonServerError)
		l.runCloses()
		l.runDeferred()
		l.publisher.Flush()
		c.dropQueue()
	}
	if n := len(l.deferred.debts); n > maxDebts {
		t.Errorf("%d debts are kept", n)
	}
	if n := l.accounts.now[KindDeferred]; n != 0 || l.deferred.count.Load() != 0 {
		t.Errorf("%d bytes of %d deferred publishes are left", n, l.deferred.count.Load())
	}
}
