package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/sluicenet/sluice/engine/server"
)

// A process is what operators may do with this one, over the admin listener.
type process struct {
	reloader atomic.Pointer[reloader] // nil until the gateway has started
	stop     chan<- os.Signal
}

func (p *process) admin() *server.AdminProcess {
	return &server.AdminProcess{Settings: p.settings, Reload: p.reload, Drain: p.drain}
}

var errNotStarted = errors.New("the gateway has not started yet")

// reload is what SIGHUP does, and says what has come of it.
func (p *process) reload() (done server.AdminReloaded, err error) {
	r := p.reloader.Load()
	if r == nil {
		return done, errNotStarted
	}
	done.Changed, done.Refused, done.Login, err = r.reload()
	return done, err
}

// drain is what SIGTERM does.
func (p *process) drain() {
	select {
	case p.stop <- syscall.SIGTERM:
	default: // others wait to be seen already
	}
}

// A setting is a flag and its value in force.
type setting struct {
	Name  string `json:"name"`
	Value any    `json:"value"` // a text, or a list of texts
}

// settings lists the flags in force, without secrets.
func (p *process) settings() any {
	list := []setting{}
	if r := p.reloader.Load(); r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, name := range slices.Sorted(maps.Keys(r.force)) {
			if reflect.TypeOf(r.force[name]).Kind() == reflect.Struct {
				continue // a flag that was removed
			}
			list = append(list, setting{name, shownValue(name, r.force[name])})
		}
	}
	return list
}

// secretFlags hold secrets, or may: of each is shown what comes before a colon, at most.
var secretFlags = []string{"api-key", "login"}

// shownValue is a flag's value as it may be shown.
func shownValue(name string, value any) any {
	if v := reflect.ValueOf(value); v.Kind() == reflect.Slice {
		texts := make([]string, v.Len())
		for i := range texts {
			texts[i] = fmt.Sprint(v.Index(i).Interface())
		}
		return texts
	}
	text := fmt.Sprint(value)
	if !slices.Contains(secretFlags, name) || text == "" {
		return text
	}
	if kind, rest, ok := strings.Cut(text, ":"); ok && name == "login" && rest != "" {
		return kind + ":(not shown)"
	} else if name == "login" {
		return text
	}
	return "(not shown)"
}
