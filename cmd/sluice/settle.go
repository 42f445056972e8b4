package main

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/sluicenet/sluice/cmd/sluice/internal/doctor"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// An outcome is what settings come to.
type outcome struct {
	provider login.Provider // the caller closes it
	config   server.Config
	warnings []string
}

// settle makes of the settings what a server needs, or says all that is wrong with them. It makes no
// files.
func (cmd *settings) settle(in *inputs, log *slog.Logger) (o outcome, err error) {
	warning, err := cmd.plan(os.DirFS("/"), in.isGiven)
	errs := []error{err}
	if warning != "" {
		o.warnings = append(o.warnings, warning)
	}
	o.provider, err = cmd.provider()
	errs = append(errs, err)
	if cmd.SessionKey != "" {
		errs = append(errs, checkSessionKey(cmd.SessionKey))
	}
	o.config, err = cmd.config(o.provider, log)
	errs = append(errs, err, cmd.checkJournal())
	if err := in.locate(errs...); err != nil {
		closeProvider(o.provider)
		return o, usageError{err}
	}
	o.warnings = append(append(o.warnings, in.warnings...), cmd.exposed(in)...)
	return o, nil
}

// start makes the server, which serves nobody yet.
func (cmd *settings) start(in *inputs, config server.Config) (*server.Server, error) {
	srv, err := cmd.server(config)
	if err != nil {
		return nil, usageError{in.locate(err)}
	}
	return srv, nil
}

// openToAll says that whoever reaches the gateway from elsewhere is let in, empty if it is not so. The
// doctor has words of his own for it.
func (cmd *settings) openToAll() string {
	if cmd.Login != "open" && (cmd.Login != "" || !cmd.Dev) {
		return ""
	}
	for _, text := range cmd.Listen {
		l, err := server.ParseListen(text)
		if err == nil && !l.Local() {
			return fmt.Sprintf("login is open, and other machines reach --listen %s: whoever connects is whoever he says he is; give --login tokens:FILE, or listen on 127.0.0.1", text)
		}
	}
	return ""
}

// plainLogin says that logins are decided by what comes from another machine without TLS, empty if
// it is not so. The doctor has words of his own for it.
func (cmd *settings) plainLogin() string {
	p, ok := doctor.ReadPlainLogin(cmd.Login)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s: %s; give %s", p.What(), p.Why(), p.Fix())
}

// withLogin is warnings, and those of logins, if there are any.
func (cmd *settings) withLogin(warnings []string) []string {
	for _, text := range []string{cmd.openToAll(), cmd.plainLogin()} {
		if text != "" {
			warnings = append(warnings, text)
		}
	}
	return warnings
}

// exposed says which secrets others on this machine can read.
func (cmd *settings) exposed(in *inputs) (warnings []string) {
	file := false
	for _, p := range in.params {
		if !in.isGiven(p.name) || !p.holdsSecret(p.flag.Target.Interface()) {
			continue
		}
		switch at := in.sourceOf(p.name); at.source {
		case fromFlag:
			warnings = append(warnings, fmt.Sprintf("--%s on the command line: everybody on this machine can see it; give it as $%s, or in the file of --config",
				p.name, p.env))
		case fromFile:
			file = true
		}
	}
	if f, err := os.Stat(in.file); file && err == nil && f.Mode().IsRegular() && f.Mode()&0o007 != 0 {
		warnings = append(warnings, fmt.Sprintf("%s: it holds secrets, and everybody on this machine can read it (%s): chmod o=",
			in.file, fs.FileMode.String(f.Mode())))
	}
	return warnings
}
