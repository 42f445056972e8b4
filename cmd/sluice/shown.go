package main

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluicenet/sluice/internal/readfile"
	"github.com/sluicenet/sluice/internal/redact"
)

// A setting is a setting and its value in force, as the API and sluice config show it.
type setting struct {
	Name   string `json:"name"`            // of the flag
	Table  string `json:"table,omitempty"` // of the file
	Key    string `json:"key"`             // in the table
	Env    string `json:"env"`
	Value  any    `json:"value"`  // a text, or a list of texts; without secrets
	Source string `json:"source"` // api, flag, env, file, memory or default
	Where  string `json:"where,omitempty"`
	Live   bool   `json:"live"` // a reload can change it
}

// settingsOf lists settings with the values that value gives them.
func settingsOf(in *inputs, value func(p *param) any) []setting {
	list := []setting{}
	for _, p := range in.params {
		if p.removed() {
			continue
		}
		at := in.sourceOf(p.name)
		s := setting{
			Name: p.name, Table: p.table, Key: p.key, Env: p.env, Value: p.shown(value(p)), Source: at.source.String(), Live: isLive(p.flag),
		}
		switch at.source {
		case fromEnv:
			s.Where = at.label
		case fromFile:
			file, err := filepath.Abs(at.file) // who asks is elsewhere
			if err != nil {
				file = at.file
			}
			s.Where = fmt.Sprintf("%s:%d", file, at.pos.Line)
		case fromFlag:
			s.Where = "--" + p.name
		case fromMemory:
			s.Where = "--memory"
		}
		list = append(list, s)
	}
	slices.SortStableFunc(list, func(a, b setting) int { return strings.Compare(a.Table, b.Table) })
	return list
}

// notShown stands for a secret.
const notShown = redact.Mark

// shown is a value as it may be shown: a text, or a list of them.
func (p *param) shown(value any) any {
	if v := reflect.ValueOf(value); v.Kind() == reflect.Slice {
		texts := make([]string, v.Len())
		for i := range texts {
			texts[i] = p.shownText(v.Index(i).Interface())
		}
		return texts
	}
	return p.shownText(value)
}

func (p *param) shownText(value any) string {
	text := written(value)
	if p.secret() && text != "" {
		return notShown
	}
	if p.flag.PlaceHolder == "FILE" && readfile.LooksSecret(text) {
		return notShown // the text of a token in place of its file's name
	}
	return shownURLs(p.name, text)
}

// written is a value as it could be given.
func written(value any) string {
	switch v := value.(type) {
	case byteSize:
		return sizeText(v)
	case time.Duration:
		return durationText(v)
	}
	return fmt.Sprint(value)
}

// durationText is a duration without units of which there are none: 10m, not 10m0s.
func durationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// String is how it may be given.
func (m memorySize) String() string {
	switch {
	case m.auto:
		return "auto"
	case m.size == 0:
		return "off"
	}
	return sizeText(m.size)
}

// String is how it may be given.
func (l autoLimit) String() string {
	switch {
	case l == 0:
		return "auto"
	case l < 0:
		return "0"
	}
	return strconv.Itoa(int(l))
}

// String is how it may be given.
func (r failureRate) String() string {
	if r.Count < 0 {
		return "0"
	}
	return fmt.Sprintf("%d/%s", r.Count, durationText(r.Per))
}

// String is how it may be given.
func (l logLevel) String() string { return strings.ToLower(slog.Level(l).String()) }
