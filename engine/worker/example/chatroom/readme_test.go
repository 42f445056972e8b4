package main

import (
	"os"
	"strings"
	"testing"
)

// The code that the README shows of this program is this program's.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("chat.go")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(readme), "## A complete worker")
	if !found {
		t.Fatal("no section about this program")
	}
	blocks := strings.Split(section, "```go\n")[1:]
	if len(blocks) == 0 {
		t.Error("no code")
	}
	for _, b := range blocks {
		code, _, _ := strings.Cut(b, "```")
		for _, part := range strings.Split(code, "\n}\n") {
			if part = strings.TrimSpace(part); !strings.Contains(string(source), part) {
				t.Errorf("not in chat.go:\n%s", part)
			}
		}
	}
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		payload string
		good    bool
	}{
		{"", true},
		{"null", true},
		{`{"room":"a","name":"b","text":"c","more":1}`, true},
		{`{"room":1}`, false},
		{`[]`, false},
		{"nope", false},
		{`{"room":"` + strings.Repeat("x", maxName+1) + `"}`, false},
		{`{"text":"` + strings.Repeat("x", maxText+1) + `"}`, false},
	} {
		if _, err := parse([]byte(tt.payload)); (err == nil) != tt.good {
			t.Errorf("%.40s: %v", tt.payload, err)
		}
	}
	for _, session := range []string{"", "user-7", "7", "[1]", `{"room":5}`} {
		if m := parseMember(session); m != (member{}) {
			t.Errorf("session %q of somebody else: %+v", session, m)
		}
	}
}
