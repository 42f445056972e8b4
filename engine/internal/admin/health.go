package admin

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/sluicenet/sluice/engine/internal/budget"
	"github.com/sluicenet/sluice/internal/beat"
)

// DefaultStall is the zero Config.Stall: long enough for a garbage collection on a busy machine, and
// for a process that was stopped for a moment.
const DefaultStall = 5 * time.Second

// livez says that the process serves: that each of its loops runs.
func (s *Server) livez(w http.ResponseWriter, _ *http.Request) {
	answerHealth(w, s.stalled())
}

// readyz says whether new clients should be sent here, and if not, why. With ?verbose it says more in
// any case. Reasons are for those who may know them; others learn that there are some.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	reasons := s.reasons()
	switch known := s.mayKnow(r); {
	case !known && len(reasons) > 0:
		answerHealth(w, []string{"not ready"})
		return
	case !known || !r.URL.Query().Has("verbose"):
		answerHealth(w, reasons)
		return
	}
	code, lines := http.StatusOK, []string{"ok"}
	if len(reasons) > 0 {
		code, lines = http.StatusServiceUnavailable, reasons
	}
	writeText(w, code, strings.Join(append(lines, s.details(reasons)...), "\n")+"\n")
}

// mayKnow reports whether the sender of r may know why the gateway is not ready: who may read the rest,
// and everybody on this machine while there are no tokens.
func (s *Server) mayKnow(r *http.Request) bool {
	if s.loopback.Load() && shown(r) == "" && !hostAllowed(r.Host, s.host) {
		return false
	}
	return s.role(r) >= ReadRole || s.closed() && s.loopback.Load()
}

// details are lines about how the gateway is, ready or not, but for those that are among reasons.
func (s *Server) details(reasons []string) (list []string) {
	st, limits := s.engine.Stats(), s.engine.Limits()
	list = append(list,
		fmt.Sprintf("connections: %d of %d", st.Connections, limits.MaxConnections),
		fmt.Sprintf("kept for clients: %d of %d bytes", st.Total, limits.BacklogTotal))
	memory := "memory: no budget"
	if s.memory != nil {
		memory = s.memory.Status()
	}
	if !slices.Contains(reasons, memory) {
		list = append(list, memory)
	}
	if s.certs != nil {
		for _, line := range s.certs.Report() {
			list = append(list, "certificates: "+oneLine(line))
		}
	}
	if s.cluster != nil {
		for _, line := range s.cluster.Status() {
			list = append(list, "cluster: "+oneLine(line))
		}
	}
	for i := range s.engine.Loops() {
		list = append(list, fmt.Sprintf("loop %d: %v late", i, s.lag.Of(i).Round(time.Microsecond)))
	}
	return list
}

// stalled lists the loops that stand still, a line each.
func (s *Server) stalled() (list []string) {
	select {
	case <-s.engine.Stopped(): // loops that have ended answer no more
		return nil
	default:
	}
	for i := range s.engine.Loops() {
		if d := s.lag.Standing(i); d >= s.config.Stall {
			list = append(list, fmt.Sprintf("loop %d stands still for %v: a handler or a hook does not return",
				i, d.Round(time.Millisecond)))
		}
	}
	return list
}

// runWatch calls watch once a second until the Server shuts down.
func (s *Server) runWatch() {
	beat.Run(time.Second, s.done, s.watch)
}

// watch logs loops that begin to stand still, and those that run again. It is called by one
// goroutine.
func (s *Server) watch() {
	s.sampleLatency()
	for i := range s.engine.Loops() {
		switch d := s.lag.Standing(i); {
		case d >= s.config.Stall && !s.told[i]:
			s.told[i] = true
			s.log.Error("a loop stands still: a handler or a hook does not return", "loop", i, "for", d)
		case d < s.config.Stall && s.told[i]:
			s.told[i] = false
			s.log.Warn("a loop runs again", "loop", i)
		}
	}
}

func answerHealth(w http.ResponseWriter, reasons []string) {
	if len(reasons) > 0 {
		writeText(w, http.StatusServiceUnavailable, strings.Join(reasons, "\n")+"\n")
		return
	}
	writeText(w, http.StatusOK, "ok\n")
}

// keyed is a login provider that fetches keys, as login.RemoteJWT does.
type keyed interface {
	Status() (keys int, at time.Time, err error)
}

// staleKeys is when fetched keys are too old to be used: the zero RemoteJWTConfig.MaxStale.
const staleKeys = time.Hour

// reasons lists why the gateway is not ready, a line each; none means that it is.
func (s *Server) reasons() []string {
	var list []string
	if s.gateway.Draining() {
		list = append(list, "draining")
	} else if !s.ready.Load() {
		list = append(list, "not listening yet")
	}
	// Keys that could not be fetched again are good for a while: one failure of their server must
	// not take every gateway out of service at once.
	if p, ok := s.gateway.Config().Login.(keyed); ok {
		switch keys, at, err := p.Status(); {
		case keys == 0 && err == nil:
			list = append(list, "login: no keys yet")
		case keys == 0 || err != nil && time.Since(at) > staleKeys:
			list = append(list, "login: "+oneLine(err.Error()))
		}
	}
	if s.cluster != nil {
		if err := s.cluster.Ready(); err != nil {
			list = append(list, "cluster: "+oneLine(err.Error()))
		}
	}
	list = append(list, s.stalled()...)
	if now, limit := s.engine.Stats().Total, s.engine.Limits().BacklogTotal; now > limit {
		list = append(list, fmt.Sprintf("memory: %d bytes kept for clients, limit %d", now, limit))
	}
	if s.memory != nil && s.memory.Stage() > budget.Calm {
		list = append(list, s.memory.Status())
	}
	return list
}

// oneLine has text, some of which may come from others, print in one line.
func oneLine(text string) string {
	unfit := func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }
	return strings.Join(strings.FieldsFunc(text, unfit), " ")
}
