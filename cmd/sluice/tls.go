package main

import (
	"cmp"
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"strings"

	"github.com/sluicenet/sluice/engine/server"
)

// tlsFields are the flags of what server.TLSError names.
var tlsFields = map[string]string{
	"Pairs.Cert":     "tls-cert",
	"Pairs.Key":      "tls-key",
	"Min":            "tls-min",
	"ClientCA":       "tls-client-ca",
	"WorkerClientCA": "worker-client-ca",
	"Auto.Hosts":     "tls-auto",
	"Auto.Cache":     "tls-auto-cache",
	"Auto.Email":     "tls-auto-email",
	"Auto.Directory": "tls-auto-directory",
}

// tlsFlag has an error of certificates be about the flag.
func tlsFlag(err error) error {
	var e *server.TLSError
	if errors.As(err, &e) && tlsFields[e.Field] != "" {
		return wrong(tlsFields[e.Field], "%w", e.Err)
	}
	return err
}

// listeners says which of the listeners speak TLS. Those that cannot be read are reported elsewhere.
func (cmd *settings) listeners() (clients, workers, operators bool) {
	for _, text := range cmd.Listen {
		l, err := server.ParseListen(text)
		clients = clients || err == nil && l.Secure()
	}
	l, err := server.ParseWorkerListen(cmd.Worker)
	workers = err == nil && l.Scheme == "tls"
	l, err = server.ParseAdminListen(cmd.Admin)
	return clients, workers, err == nil && l.Scheme == "https"
}

// tls reads the flags of certificates. Those without effect are refused.
func (cmd *settings) tls(log *slog.Logger) (c server.TLSConfig, err error) {
	clients, workers, operators := cmd.listeners()
	given := len(cmd.TLSCert) > 0 || len(cmd.TLSKey) > 0 || len(cmd.TLSAuto) > 0
	switch {
	case len(cmd.TLSCert) != len(cmd.TLSKey):
		return c, cmd.pairless()
	case cmd.Login == "cert" && cmd.TLSClientCA == "":
		return c, depends(wrong("login", "cert: want --tls-client-ca, too: nobody could log in"), "tls-client-ca")
	case cmd.TLSClientCA != "" && !clients:
		return c, depends(wrong("tls-client-ca", "no --listen uses TLS: want tls:// or wss://"), "listen")
	case cmd.WorkerClientCA != "" && !workers:
		return c, depends(wrong("worker-client-ca", "want --worker tls://HOST:PORT, too"), "worker")
	case len(cmd.TLSAuto) > 0 && !clients:
		return c, depends(wrong("tls-auto", "no --listen uses TLS, and the service looks there: want tls:// or wss://"), "listen")
	case !clients && !workers && !operators && given:
		return c, depends(wrong("tls-cert", "no listener uses TLS: want --listen tls:// or wss://, --worker tls:// or --admin https://"), "listen", "worker", "admin")
	case !clients && !workers && !operators:
		return c, cmd.tlsUnused()
	case !given && !cmd.Dev:
		return c, depends(wrong("tls-cert", "%s wants a certificate: give --tls-cert and --tls-key, or --tls-auto; --dev makes one for trying out",
			cmd.firstSecure(clients, workers)), "listen", "worker", "admin", "tls-key", "tls-auto", "dev")
	}
	c = server.TLSConfig{
		ClientCA:       cmd.TLSClientCA,
		WorkerClientCA: cmd.WorkerClientCA,
		Dev:            cmd.Dev,
		Min:            tls.VersionTLS12,
		Auto: server.TLSAutoConfig{
			Hosts: cmd.TLSAuto, Cache: cmd.TLSAutoCache, Email: cmd.TLSAutoEmail, Directory: cmd.TLSAutoDirectory,
		},
		Logger: log,
	}
	if cmd.TLSMin == "1.3" {
		c.Min = tls.VersionTLS13
	}
	for i, cert := range cmd.TLSCert {
		c.Pairs = append(c.Pairs, server.CertPair{Cert: cert, Key: cmd.TLSKey[i]})
	}
	for i, text := range cmd.Listen {
		l, err := server.ParseListen(text)
		switch {
		case err != nil || !l.Secure() || l.ClientCert == "none":
		case c.ClientCA == "" && l.ClientCert != "":
			return c, depends(wrongAt("listen", i, "%s: client certificates want --tls-client-ca, too", text), "tls-client-ca")
		case c.ClientCA != "" && l.ClientCert == "" && l.TLSAuto:
			return c, depends(wrongAt("listen", i, "%s: --tls-client-ca wants certificates, and plain connections show none: say ?client-cert=optional or none", text), "tls-client-ca")
		}
	}
	if cmd.inForce.certificates {
		return c, nil
	}
	return c, checkTLSFiles(c)
}

// pairless says which list of certificates and keys is too short.
func (cmd *settings) pairless() error {
	flag, other, n, m := "tls-cert", "tls-key", len(cmd.TLSCert), len(cmd.TLSKey)
	if n == 0 {
		flag, other, n, m = other, flag, m, n
	}
	return depends(wrong(flag, "%d files, and %d of --%s: want one key for each certificate", n, m, other), other)
}

// checkTLSFiles looks at the files one by one, so that what is wrong with each is told. Pipes can be
// read once only, and are left to the server.
func checkTLSFiles(c server.TLSConfig) error {
	var errs []error
	check := func(flag string, i int, one server.TLSConfig, files ...string) {
		for _, name := range files {
			if f, err := os.Stat(name); err == nil && !f.Mode().IsRegular() {
				return
			}
		}
		var e *server.TLSError
		if err := server.CheckTLS(one); errors.As(err, &e) {
			errs = append(errs, wrongAt(cmp.Or(tlsFields[e.Field], flag), i, "%w", e.Err))
		}
	}
	for i, p := range c.Pairs {
		check("tls-cert", i, server.TLSConfig{Pairs: []server.CertPair{p}}, p.Cert, p.Key)
	}
	if c.ClientCA != "" {
		check("tls-client-ca", -1, server.TLSConfig{ClientCA: c.ClientCA}, c.ClientCA)
	}
	if c.WorkerClientCA != "" {
		check("worker-client-ca", -1, server.TLSConfig{WorkerClientCA: c.WorkerClientCA}, c.WorkerClientCA)
	}
	return errors.Join(errs...)
}

// firstSecure is the flag of a listener that wants a certificate.
func (cmd *settings) firstSecure(clients, workers bool) string {
	for _, text := range cmd.Listen {
		if l, err := server.ParseListen(text); clients && err == nil && l.Secure() {
			return "--listen " + text
		}
	}
	if workers {
		return "--worker " + cmd.Worker
	}
	return "--admin " + cmd.Admin
}

// tlsUnused refuses settings of ACME that no host asks for.
func (cmd *settings) tlsUnused() error {
	for flag, value := range map[string]string{
		"--tls-auto-cache": cmd.TLSAutoCache, "--tls-auto-email": cmd.TLSAutoEmail, "--tls-auto-directory": cmd.TLSAutoDirectory,
	} {
		if strings.TrimSpace(value) != "" {
			return depends(wrong(flag, "want --tls-auto HOST, too"), "tls-auto")
		}
	}
	return nil
}
