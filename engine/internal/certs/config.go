package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Config says which certificates there are. Its zero value has none.
type Config struct {
	// Pairs are files of certificates and their keys. The first is for clients that name no host,
	// or one that no other pair is for.
	Pairs []Pair
	// Certificates are more of them, from memory. They are not replaced.
	Certificates []tls.Certificate
	// Dev makes a self-signed certificate for this machine in memory, unless there is any other.
	Dev bool
	// Min is the least version of TLS: tls.VersionTLS12, or tls.VersionTLS13. Zero means the former.
	Min uint16
	// ClientCA is a file of the certificate authorities that clients' certificates must come from.
	// Empty: clients are not asked for any.
	ClientCA string
	// WorkerClientCA likewise, for workers.
	WorkerClientCA string
	// Auto has certificates made by an ACME service.
	Auto AutoConfig
	// Poll is how often the files are looked at. Zero means 1 s.
	Poll time.Duration
	// Logger receives what an operator should know. Nil discards.
	Logger *slog.Logger

	now func() time.Time // for tests; nil: time.Now
}

// A Pair is the files of a certificate and its key, in PEM. Behind the certificate its
// intermediates may follow. Both may be the same file.
type Pair struct {
	Cert, Key string
}

// The parts of a Config that an Error may be about.
const (
	FieldCert     = "Pairs.Cert"
	FieldKey      = "Pairs.Key"
	FieldMin      = "Min"
	FieldClientCA = "ClientCA"
	FieldWorkerCA = "WorkerClientCA"
	FieldAuto     = "Auto.Hosts"
	FieldCache    = "Auto.Cache"
	FieldService  = "Auto.Directory"
	FieldEmail    = "Auto.Email"
)

// An Error says which part of a Config cannot be used.
type Error struct {
	Field string
	Err   error
}

// Error names the field.
func (e *Error) Error() string { return e.Field + ": " + e.Err.Error() }

// Unwrap returns what is wrong with it.
func (e *Error) Unwrap() error { return e.Err }

func wrong(field, format string, args ...any) error {
	return &Error{field, fmt.Errorf(format, args...)}
}

// inField has err be about a field, unless it knows better.
func inField(field string, err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	return &Error{field, err}
}

// withoutField is err for a log, whose readers know files and not fields.
func withoutField(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// IsZero reports whether c asks for nothing.
func IsZero(c *Config) bool {
	return !Any(c) && c.Min == 0 && c.ClientCA == "" && c.WorkerClientCA == "" && c.Auto.isZero()
}

// Any reports whether c has a certificate, or will have.
func Any(c *Config) bool {
	return len(c.Pairs) > 0 || len(c.Certificates) > 0 || len(c.Auto.Hosts) > 0 || c.Dev
}

func (c Config) withDefaults() Config {
	if c.Min == 0 {
		c.Min = tls.VersionTLS12
	}
	if c.Poll <= 0 {
		c.Poll = time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.now == nil {
		c.now = time.Now
	}
	return c
}

func (c *Config) check() error {
	if c.Min != tls.VersionTLS12 && c.Min != tls.VersionTLS13 {
		return wrong(FieldMin, "%#x, want TLS 1.2 or 1.3", c.Min)
	}
	for _, p := range c.Pairs {
		switch {
		case p.Cert == "":
			return wrong(FieldCert, "no file for the key %s", p.Key)
		case p.Key == "":
			return wrong(FieldKey, "no file for the certificate %s", p.Cert)
		}
	}
	return c.Auto.check()
}
