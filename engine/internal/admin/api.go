package admin

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluicenet/sluice/engine"
)

// The codes of errors, for programs; the messages are for people.
const (
	codeBadRequest   = "bad-request"
	codeUnauthorized = "unauthorized"
	codeForbidden    = "forbidden"
	codeNotFound     = "not-found"
	codeNotAllowed   = "method-not-allowed"
	codeGone         = "cursor-expired"
	codeTooLarge     = "too-large"
	codeMediaType    = "unsupported-media-type"
	codeInvalidTopic = "invalid-topic"
	codeReload       = "reload-failed"
	codeSettings     = "settings-refused"
	codeRateLimited  = "rate-limited"
	codeNotAvailable = "not-available"
	codeBusy         = "busy"
	codeStopped      = "stopped"
)

// A refusal is the answer of the API to what it does not do.
type refusal struct {
	status  int
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *refusal) Error() string { return e.Message }

func refuse(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, &refusal{Code: code, Message: message})
}

func badRequest(format string, args ...any) error {
	return &refusal{http.StatusBadRequest, codeBadRequest, fmt.Sprintf(format, args...)}
}

func notThere(format string, args ...any) error {
	return &refusal{http.StatusNotFound, codeNotFound, fmt.Sprintf(format, args...)}
}

// answerError answers with what err says.
func (s *Server) answerError(w http.ResponseWriter, err error) {
	var e *refusal
	switch {
	case errors.As(err, &e):
	case errors.Is(err, errLoopBusy), errors.Is(err, engine.ErrBusy), errors.Is(err, context.DeadlineExceeded):
		e = &refusal{http.StatusServiceUnavailable, codeBusy, "the gateway is busy: try again"}
	case errors.Is(err, engine.ErrStopped):
		e = &refusal{http.StatusServiceUnavailable, codeStopped, "the gateway has stopped"}
	default:
		e = &refusal{http.StatusServiceUnavailable, codeBusy, err.Error()}
	}
	if e.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	refuse(w, e.status, e.Code, e.Message)
}

// A call is one of the API: it returns what is answered as JSON, or an error.
type call func(r *http.Request) (any, error)

// A route is a path of the API and what is done there. A nil method is not allowed.
type route struct {
	path      string
	get, post call
	del       call             // of DELETE, for the full role
	patch     call             // of PATCH, for the full role
	stream    http.HandlerFunc // in place of get: it writes the answer itself
	role      Role
	status    int  // of a post that has succeeded; zero means 200
	heavy     bool // asks the loops: few of them run at a time
}

// routes are the API's. The OpenAPI description has the same, which a test sees to.
func (s *Server) routes() []route {
	return []route{
		{path: "/api/v1/stats", get: s.apiStats, role: ReadRole},
		{path: "/api/v1/stats/stream", stream: s.streamStats, role: ReadRole},
		{path: "/api/v1/online", get: s.apiOnline, role: ReadRole},
		{path: "/api/v1/connections", get: s.apiConnections, role: ReadRole, heavy: true},
		{path: "/api/v1/connections/{id}", get: s.apiConnection, role: ReadRole, heavy: true},
		{path: "/api/v1/closed", get: s.apiClosed, role: ReadRole},
		{path: "/api/v1/topics", get: s.apiTopics, role: ReadRole, heavy: true},
		{path: "/api/v1/topics/{name}", get: s.apiTopic, role: ReadRole, heavy: true},
		{path: "/api/v1/topics/{name}/history", get: s.apiHistory, role: FullRole, heavy: true},
		{path: "/api/v1/topics/{name}/tail", stream: s.tail, role: FullRole},
		{path: "/api/v1/sessions", get: s.apiSessions, del: s.endSessions, role: ReadRole, heavy: true},
		{path: "/api/v1/sessions/{id}", get: s.apiSession, del: s.endSession, role: ReadRole, heavy: true},
		{path: "/api/v1/workers", get: s.apiWorkers, role: ReadRole, heavy: true},
		{path: "/api/v1/cluster", get: s.apiCluster, role: ReadRole},
		{path: "/api/v1/loops", get: s.apiLoops, role: ReadRole, heavy: true},
		{path: "/api/v1/config", get: s.apiConfig, patch: s.changeConfig, role: ReadRole},
		{path: "/api/v1/publish", post: s.apiPublish, role: FullRole},
		{path: "/api/v1/kick", post: s.apiKick, role: FullRole, heavy: true},
		{path: "/api/v1/disconnect", post: s.apiDisconnect, role: FullRole, heavy: true},
		{path: "/api/v1/subscribe", post: s.apiSubscribe, role: FullRole, heavy: true},
		{path: "/api/v1/unsubscribe", post: s.apiUnsubscribe, role: FullRole, heavy: true},
		{path: "/api/v1/reload", post: s.apiReload, role: FullRole},
		{path: "/api/v1/drain", post: s.apiDrain, role: FullRole, status: http.StatusAccepted},
	}
}

//go:embed openapi.json
var openAPI []byte

// serveAPI adds the API to mux.
func (s *Server) serveAPI(mux *http.ServeMux) {
	for _, rt := range s.routes() {
		h := s.byMethod(rt)
		mux.Handle(rt.path, h)
		if before, rest, ok := strings.Cut(rt.path, "{"); ok {
			wildcard, behind, _ := strings.Cut(rest, "}")
			mux.Handle(before+"%2F"+behind, s.slash(wildcard, h))
		}
	}
	description := get(func(w http.ResponseWriter, r *http.Request) {
		if err := parameters(r).err; err != nil {
			s.answerError(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = w.Write(openAPI)
	})
	mux.Handle("/api/v1/openapi.json", s.allowed(ReadRole, description))
	mux.Handle("/debug/loops", s.allowed(ReadRole, s.method(route{get: s.apiLoops, heavy: true})))
	mux.Handle("/api/", s.allowed(ReadRole, http.HandlerFunc(noPath)))
}

// slash serves what is named "/". A mux takes such a part of a path, %2F, for the end of a path with a
// slash, and no wildcard matches it.
func (s *Server) slash(wildcard string, h http.Handler) http.Handler {
	none := s.allowed(ReadRole, http.HandlerFunc(noPath))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.EscapedPath(), "/") {
			none.ServeHTTP(w, r)
			return
		}
		r.SetPathValue(wildcard, "/")
		h.ServeHTTP(w, r)
	})
}

// noPath answers that the API has no such path.
func noPath(w http.ResponseWriter, r *http.Request) {
	refuse(w, http.StatusNotFound, codeNotFound, "there is no "+clip(r.URL.Path))
}

// byMethod serves a route for those who may: what is deleted or changed wants the full role.
func (s *Server) byMethod(rt route) http.Handler {
	h := s.method(rt)
	others := s.allowed(rt.role, h)
	if rt.del == nil && rt.patch == nil {
		return others
	}
	changes := s.allowed(FullRole, h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete && rt.del != nil || r.Method == http.MethodPatch && rt.patch != nil {
			changes.ServeHTTP(w, r)
			return
		}
		others.ServeHTTP(w, r)
	})
}

// methods are those of a route, as Allow has them.
func (rt *route) methods() string {
	var list []string
	for _, m := range []struct {
		name string
		ok   bool
	}{
		{http.MethodDelete, rt.del != nil},
		{http.MethodGet, rt.get != nil || rt.stream != nil},
		{http.MethodHead, rt.get != nil},
		{http.MethodOptions, true},
		{http.MethodPatch, rt.patch != nil},
		{http.MethodPost, rt.post != nil},
	} {
		if m.ok {
			list = append(list, m.name)
		}
	}
	return strings.Join(list, ", ")
}

// method serves the methods of a route.
func (s *Server) method(rt route) http.Handler {
	allow := rt.methods()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions {
			w.Header().Set("Allow", allow)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		f := map[string]call{
			http.MethodGet: rt.get, http.MethodHead: rt.get, http.MethodDelete: rt.del, http.MethodPatch: rt.patch, http.MethodPost: rt.post,
		}[r.Method]
		stream := rt.stream
		if r.Method != http.MethodGet {
			stream = nil
		}
		if f == nil && stream == nil {
			w.Header().Set("Allow", allow)
			refuse(w, http.StatusMethodNotAllowed, codeNotAllowed, "want "+allow)
			return
		}
		r, err := parts(w, r)
		if err != nil {
			s.answerError(w, err)
			return
		}
		if stream != nil {
			stream(w, r)
			return
		}
		if rt.heavy {
			if err := s.enter(r.Context()); err != nil {
				s.answerError(w, err)
				return
			}
			defer s.leave()
		}
		v, err := f(r)
		if err != nil {
			s.answerError(w, err)
			return
		}
		status := http.StatusOK
		if r.Method == http.MethodPost && rt.status != 0 {
			status = rt.status
		}
		writeJSON(w, status, v)
	})
}

// parts holds r to the parts that a request of its method has: what is about its body has no parameters,
// and the others have no body. The request that it returns is the one to go on with.
func parts(w http.ResponseWriter, r *http.Request) (*http.Request, error) {
	switch r.Method {
	case http.MethodPost, http.MethodPatch:
	default:
		if r.ContentLength == 0 || r.Body == nil {
			return r, nil
		}
		if n, _ := io.ReadFull(r.Body, make([]byte, 1)); n > 0 {
			return r, badRequest("a %s has no body here", r.Method)
		}
		return r, nil
	}
	// The writer is told when there is more: then its answer goes before the connection is closed, also
	// if the client has asked for the close. The server keeps its own body, in the other copy.
	body := http.MaxBytesReader(w, r.Body, maxBody)
	r = r.WithContext(r.Context())
	r.Body = body
	return r, parameters(r).err
}

const (
	// maxQueries is how many requests ask the loops at a time, and queryWait how long another waits.
	maxQueries = 4
	queryWait  = time.Second
)

// enter waits for a place among those who ask the loops.
func (s *Server) enter(ctx context.Context) error {
	select {
	case s.queries <- struct{}{}:
		return nil
	default:
	}
	t := time.NewTimer(queryWait)
	defer t.Stop()
	select {
	case s.queries <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		s.busy.Add(1)
		return &refusal{http.StatusServiceUnavailable, codeBusy,
			fmt.Sprintf("%d other requests ask the loops: try again", maxQueries)}
	}
}

func (s *Server) leave() { <-s.queries }

// A query reads the parameters of a URL. What it cannot read, or nobody has asked for, is its error.
type query struct {
	values map[string][]string
	err    error
}

// readQuery begins to read the parameters of r, whatever their names are. Of a query that cannot be
// parsed nothing counts: a filter that is lost would make a list of everybody.
func readQuery(r *http.Request) *query {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return &query{err: badRequest("the query is no query of a URL: want name=value, joined by &, with %%3B for ; and %%25 for %%")}
	}
	return &query{values: values}
}

// parameters begins to read the parameters of r, which are of known names.
func parameters(r *http.Request, known ...string) *query {
	q := readQuery(r)
	for name := range q.values {
		switch {
		case len(known) == 0:
			q.fail("unknown parameter %q: there are none here", clip(name))
		case !slices.Contains(known, name):
			q.fail("unknown parameter %q, want %s", clip(name), strings.Join(known, ", "))
		}
	}
	return q
}

func (q *query) fail(format string, args ...any) {
	if q.err == nil {
		q.err = badRequest(format, args...)
	}
}

func (q *query) text(name string) string {
	switch v := q.values[name]; len(v) {
	case 0:
		return ""
	case 1:
		return v[0]
	}
	q.fail("%s is given twice", name)
	return ""
}

// given returns what text does, nil if the parameter is not there: an empty one says something, too.
func (q *query) given(name string) *string {
	if _, ok := q.values[name]; !ok {
		return nil
	}
	return new(q.text(name))
}

// part reads what a path has in place of a wildcard, or a parameter of the same name, which counts
// instead. A browser takes . and .. in a path for steps, however they are written.
func (q *query) part(r *http.Request, wildcard string) string {
	if text := q.given(wildcard); text != nil {
		return *text
	}
	return r.PathValue(wildcard)
}

// number reads a whole number from 0 on.
func (q *query) number(name string, without, most int) int { return q.between(name, without, 0, most) }

// between reads a whole number that is neither below least nor above most.
func (q *query) between(name string, without, least, most int) int {
	text := q.text(name)
	if text == "" {
		return without
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		q.fail("%s=%s: want a number from %d to %d", name, clip(text), least, most)
		return without
	}
	return n
}

// limit reads how many rows an answer may have.
func (q *query) limit() int { return q.between("limit", 100, 1, maxRows) }

// oneOf reads one of some words.
func (q *query) oneOf(name string, words ...string) string {
	text := q.text(name)
	if text != "" && !slices.Contains(words, text) {
		q.fail("%s=%s: want one of %s", name, clip(text), strings.Join(words, ", "))
	}
	return text
}

// maxRows is how many rows an answer has at most.
const maxRows = 1000
