package certs

import (
	"fmt"
	"slices"
	"time"
)

// endNear is how long before its end a certificate is warned of, at most a third of its lifetime, once
// a day.
const endNear = 14 * 24 * time.Hour

// ending says that a certificate has ended or soon will, empty when there is time.
func (l *loaded) ending(now time.Time) string {
	return ending(now, l.notAfter, min(endNear, l.lifetime/3))
}

func ending(now, ends time.Time, near time.Duration) string {
	left := ends.Sub(now)
	switch {
	case left <= 0:
		return fmt.Sprintf("expired on %s", ends.UTC().Format(time.RFC3339))
	case left < near:
		return fmt.Sprintf("expires on %s, in %v", ends.UTC().Format(time.RFC3339), left.Round(time.Minute))
	}
	return ""
}

// warnOfEnds logs, once a day, which certificates end soon or have ended.
func (s *Store) warnOfEnds() {
	now := s.config.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.state.Load().list {
		if l.file == "" || !l.warned.IsZero() && now.Sub(l.warned) < 24*time.Hour {
			continue
		}
		if w := l.ending(now); w != "" {
			l.warned = now
			s.log.Warn("a certificate ends", "file", l.file, "when", w)
		}
	}
}

// Report returns what an operator should know of the certificates, a line each: files that cannot be
// used, hosts for which there is none, and what Warnings says of those in force.
func (s *Store) Report() (list []string) {
	s.mu.Lock()
	for _, src := range s.sources {
		if src.fault == nil {
			continue
		}
		line := src.fault.Error() + ": what was there before stays in force"
		if !slices.Contains(list, line) { // a file may be named for several things
			list = append(list, line)
		}
	}
	s.mu.Unlock()
	list = append(list, s.Warnings()...)
	if s.auto != nil {
		list = append(list, s.auto.report(s.config.now())...)
	}
	return list
}

// Stats are counters, and what is in force.
type Stats struct {
	Certificates []Status // those of Pairs, then those of Auto.Hosts
	Reloads      uint64   // changes of files that were taken over
	Failures     uint64   // changes that could not be
	Orders       uint64   // of certificates, from the ACME service
	OrdersFailed uint64
}

// A Status is one certificate's.
type Status struct {
	Name string    // of its file; of the host, where ACME gets it
	Ends time.Time // the earliest end of its chain; zero: there is none yet
}

// Stats returns them.
func (s *Store) Stats() Stats {
	st := Stats{Reloads: s.reloads.Load(), Failures: s.failures.Load()}
	for _, l := range s.state.Load().list {
		if l.file != "" {
			st.Certificates = append(st.Certificates, Status{l.file, l.notAfter})
		}
	}
	if s.auto != nil {
		s.auto.stats(&st)
	}
	return st
}
