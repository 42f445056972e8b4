package certs

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/internal/readfile"
)

// suites are those of TLS 1.2 in Mozilla's "intermediate" list, as far as crypto/tls has them; those
// of 1.3 cannot be chosen. https://ssl-config.mozilla.org/guidelines/latest.json
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// curves likewise.
var curves = []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384}

// A Store holds the certificates in force.
type Store struct {
	config Config
	log    *slog.Logger
	auto   *auto // nil: no ACME
	state  atomic.Pointer[state]

	reloads, failures atomic.Uint64

	setting  sync.Mutex // held by set, which may have to wait for a pipe
	mu       sync.Mutex // guards what follows, and changes of state; nobody waits while he holds it
	sources  []*source
	inMemory []*loaded
	views    []*view
	rotated  time.Time // when the listeners last got keys for session tickets
	dev      *loaded
}

// A source is files that are one thing: a pair, or a file of authorities.
type source struct {
	what  string // for the log
	field string
	files []string
	parse func(s *source, texts [][]byte, now time.Time) error

	sum    digest // of what is in force
	seen   digest // at the last look
	failed digest // at a second look or a Recheck, and found unusable
	fault  error  // why; nil: they can be used
	piped  bool   // cannot be read again

	loaded *loaded        // of a pair
	pool   *x509.CertPool // of authorities
}

type digest [sha256.Size]byte

// New reads all that config names. It fails with an Error.
func New(config Config) (*Store, error) {
	config = config.withDefaults()
	if err := config.check(); err != nil {
		return nil, err
	}
	s := &Store{config: config, log: config.Logger, rotated: config.now()}
	if len(config.Auto.Hosts) > 0 {
		s.auto = newAuto(config.Auto, s.log, config.now)
	}
	use, err := s.prepare(config)
	if err != nil {
		return nil, err
	}
	use()
	return s, nil
}

// Set replaces Pairs, Certificates, Dev and Min, and reads all files again, whatever they were at the
// last look. It reports whether anything is different now. On an error nothing has changed. What
// else config says stays as New was told.
func (s *Store) Set(config Config) (changed bool, err error) {
	use, err := s.Prepare(config)
	if err != nil {
		return false, err
	}
	return use(), nil
}

// Prepare does all of Set that can fail. The function that it returns does the rest.
func (s *Store) Prepare(config Config) (use func() (changed bool), err error) {
	config = config.withDefaults()
	config.ClientCA, config.WorkerClientCA, config.Auto = s.config.ClientCA, s.config.WorkerClientCA, s.config.Auto
	config.now = s.config.now
	if err := config.check(); err != nil {
		return nil, err
	}
	commit, err := s.prepare(config)
	if err != nil {
		if s.Recheck() == 0 { // it is about files that are not in force
			s.failures.Add(1)
		}
		return nil, err
	}
	return func() bool {
		s.mu.Lock()
		before, warnedOf := s.state.Load(), s.sources
		s.mu.Unlock()
		changed := commit()
		if changed {
			s.reloads.Add(1)
		}
		for _, src := range s.current() {
			if old := slices.IndexFunc(warnedOf, src.same); old < 0 || warnedOf[old].sum != src.sum {
				s.logTaken(src)
			}
		}
		return changed || before.min != s.state.Load().min
	}, nil
}

func (s *Store) current() []*source {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sources
}

func (src *source) same(other *source) bool {
	return src.what == other.what && slices.Equal(src.files, other.files)
}

// prepare reads what config names. The function that it returns puts it into force, and reports whether
// it is different from what was in force when it was read.
func (s *Store) prepare(config Config) (commit func() (changed bool), err error) {
	s.setting.Lock()
	defer s.setting.Unlock()
	now := config.now()
	before := s.current()
	sources, changed := sourcesOf(config), false
	for _, src := range sources {
		old := slices.IndexFunc(before, src.same)
		if old >= 0 && before[old].piped {
			*src = *before[old]
			continue
		}
		texts, piped, err := src.read(readfile.Read)
		if err != nil {
			return nil, inField(src.field, err)
		}
		if err := src.parse(src, texts, now); err != nil {
			return nil, inField(src.field, err)
		}
		src.sum, src.piped = digestOf(texts), piped
		src.seen = src.sum
		if old < 0 || before[old].sum != src.sum {
			changed = true
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	inMemory, err := s.fromMemory(config, now)
	if err != nil {
		return nil, err
	}
	if !Any(&config) && len(s.views) > 0 {
		return nil, wrong(FieldCert, "none is left, and listeners need one")
	}
	changed = changed || len(sources) != len(before)
	return func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sources, s.inMemory = sources, inMemory
		s.apply(config.Min)
		return changed
	}, nil
}

// fromMemory returns the certificates that are in no file.
func (s *Store) fromMemory(config Config, now time.Time) (list []*loaded, err error) {
	for i := range config.Certificates {
		c := config.Certificates[i]
		var chain []*x509.Certificate
		for _, der := range c.Certificate {
			parsed, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, wrong(FieldCert, "certificate %d in memory: %w", i+1, err)
			}
			chain = append(chain, parsed)
		}
		if len(chain) == 0 || c.PrivateKey == nil {
			return nil, wrong(FieldCert, "certificate %d in memory is empty or has no key", i+1)
		}
		l, err := newLoaded(&c, chain, now)
		if err != nil {
			return nil, wrong(FieldCert, "certificate %d in memory: %w", i+1, err)
		}
		list = append(list, l)
	}
	if !config.Dev || len(config.Pairs) > 0 || len(list) > 0 || len(config.Auto.Hosts) > 0 {
		return list, nil
	}
	if s.dev == nil {
		if s.dev, err = newDev(now); err != nil {
			return nil, inField(FieldCert, err)
		}
	}
	return append(list, s.dev), nil
}

// apply puts what sources hold into force. s.mu is held.
func (s *Store) apply(least uint16) {
	st := &state{min: least}
	for _, src := range s.sources {
		switch {
		case src.loaded != nil:
			st.list = append(st.list, src.loaded)
		case src.field == FieldClientCA:
			st.clientCA = src.pool
		case src.field == FieldWorkerCA:
			st.workerCA = src.pool
		}
	}
	st.list = append(st.list, s.inMemory...)
	st.index()
	s.state.Store(st)
	for _, v := range s.views {
		v.renew(st)
	}
}

// sourcesOf lists the files that config names.
func sourcesOf(config Config) (list []*source) {
	for _, p := range config.Pairs {
		list = append(list, &source{
			what: "certificate", field: FieldCert, files: []string{p.Cert, p.Key},
			parse: func(src *source, texts [][]byte, now time.Time) (err error) {
				src.loaded, err = parsePair(p, texts[0], texts[1], now)
				return err
			},
		})
	}
	for _, ca := range []struct{ what, field, file string }{
		{"client CA", FieldClientCA, config.ClientCA},
		{"worker client CA", FieldWorkerCA, config.WorkerClientCA},
	} {
		if ca.file == "" {
			continue
		}
		list = append(list, &source{
			what: ca.what, field: ca.field, files: []string{ca.file},
			parse: func(src *source, texts [][]byte, _ time.Time) error {
				pool, err := parseCAs(texts[0])
				if err != nil {
					return wrong(ca.field, "%s: %w", ca.file, err)
				}
				src.pool = pool
				return nil
			},
		})
	}
	return list
}

// read returns what is in the files, and whether one of them is a pipe.
func (src *source) read(readFile func(name string, limit int64) ([]byte, error)) (texts [][]byte, piped bool, err error) {
	for i, name := range src.files {
		info, err := os.Stat(name)
		if err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
			piped = true
		}
		text, err := readFile(name, maxFile)
		if err != nil {
			if src.field == FieldCert && i == 1 {
				return nil, piped, inField(FieldKey, err)
			}
			return nil, piped, err
		}
		texts = append(texts, text)
	}
	return texts, piped, nil
}

// readNow does not wait for a pipe. Its digest tells faults apart, too.
func (src *source) readNow() (texts [][]byte, sum digest, err error) {
	texts, _, err = src.read(readfile.ReadNow)
	if err != nil {
		return nil, sha256.Sum256([]byte(err.Error())), err
	}
	return texts, digestOf(texts), nil
}

// digestOf tells texts apart.
func digestOf(texts [][]byte) digest {
	h := sha256.New()
	for _, text := range texts {
		sum := sha256.Sum256(text)
		h.Write(sum[:])
	}
	return digest(h.Sum(nil))
}

// look reads all files once more, and takes over what has been seen twice. What has become a pipe is
// read by Set alone.
func (s *Store) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.config.now()
	changed := false
	for i, src := range s.sources {
		if src.piped {
			continue
		}
		texts, sum, err := src.readNow()
		switch {
		case sum == src.sum:
			src.seen, src.failed, src.fault = sum, digest{}, nil
			continue
		case sum != src.seen:
			src.seen = sum
			continue
		case sum == src.failed:
			continue
		}
		next := *src
		if err == nil {
			err = src.parse(&next, texts, now)
		}
		if err != nil {
			s.note(src, sum, err)
			continue
		}
		next.sum, next.fault = sum, nil
		s.sources = slices.Clone(s.sources) // Set may be going through the old list
		s.sources[i] = &next
		s.reloads.Add(1)
		changed = true
		s.logTaken(&next)
	}
	if changed {
		s.apply(s.state.Load().min)
	}
}

// Recheck reads all files once more, for somebody who has found that some of them cannot be used:
// Report names those when it returns, and not only when two looks have seen the same. It takes
// nothing over, is no look, and returns the number of faults.
func (s *Store) Recheck() (faults int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, src := range s.sources {
		if src.piped {
			continue
		}
		texts, sum, err := src.readNow()
		if sum == src.failed {
			faults++
			continue
		}
		src.failed, src.fault = digest{}, nil
		if sum == src.sum {
			continue
		}
		if err == nil {
			next := *src
			err = src.parse(&next, texts, s.config.now())
		}
		if err != nil {
			s.note(src, sum, err)
			faults++
		}
	}
	return faults
}

// note keeps in mind that files cannot be used, and logs it. s.mu is held.
func (s *Store) note(src *source, sum digest, err error) {
	src.failed, src.fault = sum, withoutField(err)
	s.failures.Add(1)
	s.log.Warn("the files of a "+src.what+" cannot be used: what they held before stays in force", "err", src.fault)
}

// logTaken logs that a source's files are in force.
func (s *Store) logTaken(src *source) {
	if src.loaded == nil {
		s.log.Info(src.what+" read", "file", src.files[0])
		return
	}
	l := src.loaded
	s.log.Info("certificate read", "file", l.file, "names", allNames(l.cert.Leaf),
		"ends", l.notAfter.UTC().Format(time.RFC3339), "sha256", Fingerprint(l.cert.Certificate[0]))
	l.logWarnings(s.log)
}

func (l *loaded) logWarnings(log *slog.Logger) {
	for _, w := range l.warnings {
		log.Warn("a certificate clients may not take", "file", l.file, "why", w)
	}
}

// Warnings returns what an operator should know of the certificates that are in force.
func (s *Store) Warnings() (list []string) {
	now := s.config.now()
	for _, l := range s.state.Load().list {
		for _, w := range l.warnings {
			list = append(list, l.file+": "+w)
		}
		if w := l.ending(now); w != "" {
			list = append(list, l.file+": "+w)
		}
	}
	return list
}

// Run looks at the files, and has hosts' certificates ordered, until ctx is done.
func (s *Store) Run(ctx context.Context) {
	for _, src := range s.current() {
		s.logTaken(src)
	}
	s.mu.Lock()
	if s.dev != nil {
		s.log.Warn("a self-signed certificate was made, for trying out: no client trusts it",
			"names", allNames(s.dev.cert.Leaf),
			"sha256", Fingerprint(s.dev.cert.Certificate[0]))
	}
	s.mu.Unlock()
	var orders sync.WaitGroup
	defer orders.Wait()
	if s.auto != nil {
		orders.Go(func() { s.auto.run(ctx) })
	}
	s.warnOfEnds()
	tick := time.NewTicker(s.config.Poll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.look()
			s.warnOfEnds()
			s.rotateKeys()
		}
	}
}
