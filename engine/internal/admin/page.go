package admin

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

// pageFiles are the page for people: it asks the API for all that it shows, so that there is nothing to read
// in it without a token. uplot/ is uPlot 1.6.32 as it is in npm, under the licence beside it.
//
//go:embed page
var pageFiles embed.FS

// pagePolicy lets the page use its own files and the API of the gateway that it comes from, and
// nothing else.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

var pageTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
	".svg": "image/svg+xml", "": "text/plain; charset=utf-8",
}

// firstPage is what / answers with. It is 2 KiB long and never compressed: nothing in it is secret, but
// scanners take a compressed answer to / over TLS for a sign of BREACH (CVE-2013-3587).
const firstPage = "page/index.html"

// servePage adds the page's files to mux: they are for everybody who reaches the listener.
func (s *Server) servePage(mux *http.ServeMux) {
	eachPageFile(func(name string, content []byte) error {
		at := "/" + name
		if name == firstPage {
			at = "/{$}"
		}
		mux.Handle(at, pageFile(name, content))
		return nil
	})
}

// eachPageFile calls f with the page's files. They are in the program: reading them cannot fail.
func eachPageFile(f func(name string, content []byte) error) {
	_ = fs.WalkDir(pageFiles, "page", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := pageFiles.ReadFile(name)
		if err != nil {
			return err
		}
		return f(name, content)
	})
}

// pageFile answers with a file, compressed for who takes that, or says that a browser has it already.
func pageFile(name string, content []byte) http.Handler {
	digest := sha256.Sum256(content)
	version, kind := hex.EncodeToString(digest[:8]), pageTypes[path.Ext(name)]
	return get(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-cache")
		h.Set("Vary", "Accept-Encoding")
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		tag, body := `"`+version+`"`, content
		packed := name != firstPage && takesGzip(r)
		if packed {
			tag, body = `"`+version+`-gzip"`, packedFiles()[name]
		}
		h.Set("ETag", tag)
		if strings.Contains(r.Header.Get("If-None-Match"), tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		if packed {
			h.Set("Content-Encoding", "gzip")
		}
		h.Set("Content-Type", kind)
		h.Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	})
}

// packedFiles are the page's files compressed, when somebody asks for the first of them.
var packedFiles = sync.OnceValue(func() map[string][]byte {
	files := make(map[string][]byte)
	eachPageFile(func(name string, content []byte) error {
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err != nil {
			return err
		}
		if _, err = z.Write(content); err == nil {
			err = z.Close()
		}
		files[name] = b.Bytes()
		return err
	})
	return files
})

// takesGzip reports whether a request lists gzip among what it takes, and not with quality zero.
func takesGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		name, quality, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			weight, err := strconv.ParseFloat(strings.TrimPrefix(strings.ReplaceAll(quality, " ", ""), "q="), 64)
			return err != nil && quality == "" || weight > 0
		}
	}
	return false
}
