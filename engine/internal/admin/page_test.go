package admin

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/engine/login"
)

// maxPage is how much the page may be, compressed, with all its files.
const maxPage = 100 << 10

// TestPage: the page is for everybody, is small, asks no other host, and says nothing by itself.
func TestPage(t *testing.T) {
	s := newServer(t, login.Open{}, func(c *Config) { c.Tokens, c.Version = testTokens(t), "v9.9.9-secret" })
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	elsewhere := regexp.MustCompile(`(https?:)?//[a-z0-9-]+\.[a-z]`)
	scripts := regexp.MustCompile(`<script[^>]*>[^<]|<style|\son[a-z]+=|innerHTML|insertAdjacentHTML|document\.write|\beval\(`)
	err := fs.WalkDir(pageFiles, "page", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		target := "/" + name
		if name == firstPage {
			target = "/"
		}
		w := ask(s, "GET", target)
		body := w.Body.String()
		h := w.Header()
		if w.Code != 200 || h.Get("ETag") == "" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", target, w.Code, h)
		}
		policy := h.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
			t.Errorf("%s: %s", target, policy)
		}
		if again := ask(s, "GET", target, "If-None-Match", h.Get("ETag")); again.Code != 304 || again.Body.Len() != 0 {
			t.Errorf("%s again: %d", target, again.Code)
		}
		for _, accept := range []string{"gzip, deflate, br", "br;q=1.0, gzip;q=0.5"} {
			short := ask(s, "GET", target, "Accept-Encoding", accept)
			if name == firstPage {
				if short.Header().Get("Content-Encoding") != "" || short.Body.String() != body {
					t.Errorf("%s is compressed: %v", target, short.Header())
				}
				continue
			}
			z, err := gzip.NewReader(short.Body)
			if err != nil || short.Header().Get("Content-Encoding") != "gzip" || short.Header().Get("ETag") == h.Get("ETag") {
				t.Errorf("%s compressed: %v %v", target, err, short.Header())
			} else if text, err := io.ReadAll(z); err != nil || string(text) != body {
				t.Errorf("%s compressed is another: %v", target, err)
			}
		}
		if plain := ask(s, "GET", target, "Accept-Encoding", "gzip;q=0, x"); plain.Header().Get("Content-Encoding") != "" || plain.Body.String() != body {
			t.Errorf("%s comes compressed to who refuses it", target)
		}
		if strings.Contains(body, "v9.9.9") {
			t.Errorf("%s tells the version", target)
		}
		if !strings.Contains(name, "uplot/") {
			own := strings.ReplaceAll(body, "http://www.w3.org/2000/svg", "")
			if found := elsewhere.FindString(own); found != "" {
				t.Errorf("%s names another host: %s", target, found)
			}
			if found := scripts.FindString(own); found != "" && !strings.HasSuffix(name, ".svg") {
				t.Errorf("%s: %s", target, found)
			}
		}
		_, err = z.Write(w.Body.Bytes())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if packed.Len() > maxPage {
		t.Errorf("the page is %d bytes compressed, want at most %d", packed.Len(), maxPage)
	}
	t.Logf("%d bytes compressed", packed.Len())
}
