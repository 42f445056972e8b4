package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The whole way, with the servers that nobody has to install.
func TestSmoke(t *testing.T) {
	dir := t.TempDir()
	if err := run(t.Context(), []string{"-quick", "-rows", "fanout1k,echo1", "-peers", "sluice,sender,gnetecho", "-out", dir}); err != nil {
		t.Fatal(err)
	}
	r, err := load(resultsFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"fanout1k/sluice": 1, "fanout1k/sender": 1, "echo1/sluice": 1, "echo1/gnetecho": 1}
	if _, err := exec.LookPath("cc"); err != nil {
		delete(want, "fanout1k/sender")
	}
	for _, rec := range r.Records {
		name := rec.Row + "/" + rec.Peer
		want[name]--
		a := rec.Accounting
		if rec.Failure != "" || a.Sent == 0 || a.Delivered != a.Sent || a.Late+a.Refused+a.Mismatch+a.Closed+a.Failed != 0 {
			t.Errorf("%s: %q %+v %q", name, rec.Failure, a, rec.Errors)
		}
		for _, metric := range []string{"cpu", "user", "system", "rate", "p50", "p99", "p99.9", "rss"} {
			if _, ok := rec.Metrics[metric]; !ok {
				t.Errorf("%s has no %s", name, metric)
			}
		}
	}
	for name, n := range want {
		if n != 0 {
			t.Errorf("%s: %d runs missing", name, n)
		}
	}
	page, err := os.ReadFile(filepath.Join(dir, "RESULTS.md"))
	if err != nil || !strings.Contains(string(page), "| gnetecho | ") || !strings.Contains(string(page), "(echo1.svg)") {
		t.Errorf("%v\n%s", err, page)
	}
	if svg, err := os.ReadFile(filepath.Join(dir, "echo1.svg")); err != nil || !wellFormed(svg) {
		t.Errorf("plot: %v\n%s", err, svg)
	}
}

func wellFormed(svg []byte) bool {
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		if _, err := d.Token(); err != nil {
			return errors.Is(err, io.EOF) && len(svg) > 0
		}
	}
}

func TestUsage(t *testing.T) {
	for name, args := range map[string][]string{
		"row":      {"-rows", "nothing"},
		"peer":     {"-rows", "echo1", "-peers", "nobody", "-out", t.TempDir()},
		"flag":     {"-no-such-flag"},
		"argument": {"echo1"},
		"repeat":   {"-repeat", "0"},
	} {
		if err := run(t.Context(), args); !errors.Is(err, errUsage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
