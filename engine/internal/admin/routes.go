package admin

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Handler returns what the Server answers with, for tests and for other listeners.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/livez", get(s.livez))
	mux.Handle("/readyz", get(s.readyz))
	mux.Handle("/metrics", s.allowed(ReadRole, get(s.newMetrics().ServeHTTP)))
	s.servePage(mux)
	for _, version := range []string{"v1", "v2"} {
		mux.Handle("/"+version+"/socket/token", s.forTokens(onlyGet(s.token)))
		mux.HandleFunc("/"+version+"/", notFound)
	}
	s.serveAPI(mux)

	// Not /debug/pprof/cmdline: the arguments may hold the API key.
	mux.Handle("/debug/pprof/", s.allowed(FullRole, get(profile(pprof.Index))))
	mux.Handle("/debug/pprof/profile", s.allowed(FullRole, get(profile(pprof.Profile))))
	mux.Handle("/debug/pprof/symbol", s.allowed(FullRole, get(profile(pprof.Symbol))))
	mux.Handle("/debug/pprof/trace", s.allowed(FullRole, get(profile(pprof.Trace))))
	return bounded(mux)
}

// answerWithin is how long a client may take to read an answer.
const answerWithin = 30 * time.Second

// bounded sets the deadlines and headers that every answer has. A deadline of the whole request
// would end profiles, whose time is their point, so it is set here.
func bounded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		_ = c.SetWriteDeadline(time.Now().Add(answerWithin))
		if r.ContentLength != 0 {
			_ = c.SetReadDeadline(time.Now().Add(2 * time.Second)) // net/http reads what nobody wants
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		h.ServeHTTP(w, r)
	})
}

// profile gives a profile the time it asks for.
func profile(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		seconds, err := strconv.ParseFloat(r.FormValue("seconds"), 64)
		if err != nil || seconds <= 0 {
			seconds = 30
		}
		lasts := time.Duration(min(seconds, 3600) * float64(time.Second))
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(lasts + answerWithin))
		h(w, r)
	}
}

// get serves GET and HEAD.
func get(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			notAllowed(w, "GET, HEAD")
			return
		}
		h(w, r)
	})
}

// onlyGet serves GET: for answers that cost something.
func onlyGet(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			notAllowed(w, "GET")
			return
		}
		h(w, r)
	})
}

func notAllowed(w http.ResponseWriter, allow string) {
	w.Header().Set("Allow", allow)
	fail(w, http.StatusMethodNotAllowed, "want "+allow)
}

func notFound(w http.ResponseWriter, r *http.Request) {
	fail(w, http.StatusNotFound, "there is no "+clip(r.URL.Path))
}

// clip keeps what a caller sent from making an answer long.
func clip(text string) string {
	const most = 100
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

// An envelope is around every JSON answer of the token call and every JSON error. Code 0 is success.
type envelope struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    any    `json:"data"`
}

func fail(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, envelope{Code: status, Message: message})
}

// answers are what answers are put together in: a list of a thousand rows is half a mebibyte.
var answers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// giveBack lets another answer have b. What is very long is not kept for who may never ask again.
func giveBack(b *bytes.Buffer) {
	if b.Cap() <= 1<<20 {
		b.Reset()
		answers.Put(b)
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b := answers.Get().(*bytes.Buffer)
	defer giveBack(b)
	if err := json.NewEncoder(b).Encode(v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// whole has what h answers go out in one piece, once it is complete.
func whole(h http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		b := answers.Get().(*bytes.Buffer)
		defer giveBack(b)
		h.ServeHTTP(&collected{w, b}, r)
		w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
		_, _ = w.Write(b.Bytes())
	}
}

// A collected is an answer of which the body is put into a buffer.
type collected struct {
	http.ResponseWriter
	body *bytes.Buffer
}

func (c *collected) Write(p []byte) (int, error) { return c.body.Write(p) }

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text))
}
