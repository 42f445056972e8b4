package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sluicenet/sluice/engine/server"
)

type certCmd struct {
	Names []string `arg:"" optional:"" name:"name" help:"Further names and addresses the certificate is for, beside localhost, 127.0.0.1 and ::1."`
	Dev   bool     `help:"A self-signed certificate, for trying out. No other kind is made." required:""`
	Cert  string   `help:"File to write the certificate to." default:"cert.pem" placeholder:"FILE"`
	Key   string   `help:"File to write its key to; nobody else may read it." default:"key.pem" placeholder:"FILE"`
	Force bool     `help:"Replace files that are there."`
}

// Run writes both files, or none.
func (cmd *certCmd) Run(stdout io.Writer) error {
	if cmd.Cert == cmd.Key {
		return usageError{errors.New("cert: --cert and --key: want two files")}
	}
	cert, key, err := server.SelfSigned(time.Now(), cmd.Names...)
	if err != nil {
		return usageError{fmt.Errorf("cert: %w", err)}
	}
	for _, name := range []string{cmd.Cert, cmd.Key} {
		err := replaceable(name)
		if _, lerr := os.Lstat(name); err == nil && !cmd.Force && !errors.Is(lerr, fs.ErrNotExist) {
			if err = lerr; err == nil {
				err = fmt.Errorf("%s is there already; --force replaces it", name)
			}
		}
		if err != nil {
			return usageError{fmt.Errorf("cert: %w", err)}
		}
	}
	if err := writeWhole(cmd.Key, key, 0o600, cmd.Force); err != nil {
		return fmt.Errorf("cert: %w", err)
	}
	if err := writeWhole(cmd.Cert, cert, 0o644, cmd.Force); err != nil {
		if !cmd.Force {
			_ = os.Remove(cmd.Key)
		}
		return fmt.Errorf("cert: %w", err)
	}
	_, err = fmt.Fprintf(stdout, "certificate  %s\nkey          %s\nsha256       %s\n", cmd.Cert, cmd.Key, server.CertFingerprint(cert))
	return err
}

// writeWhole writes a file whole or not at all, so that a gateway which looks at it sees no half of
// it. A file that is there is replaced only if replace says so, also one that has only just come.
func writeWhole(name string, text []byte, mode os.FileMode, replace bool) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(mode)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	switch {
	case err != nil:
		return err
	case !replace:
		if err := os.Link(f.Name(), name); err == nil || errors.Is(err, fs.ErrExist) {
			return err
		} // there are file systems without links
	}
	return os.Rename(f.Name(), name)
}
