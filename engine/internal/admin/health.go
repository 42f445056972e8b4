package admin

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// livez says that the process serves.
func (s *Server) livez(w http.ResponseWriter, _ *http.Request) {
	writeText(w, http.StatusOK, "ok\n")
}

// readyz says whether new clients should be sent here, and if not, why.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	reasons := s.reasons()
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
	if now, limit := s.engine.Stats().Total, s.engine.Config().BacklogTotal; now > limit {
		list = append(list, fmt.Sprintf("memory: %d bytes kept for clients, limit %d", now, limit))
	}
	return list
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
