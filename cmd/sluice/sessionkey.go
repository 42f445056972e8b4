package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sluicenet/sluice/engine/server"
	"github.com/sluicenet/sluice/internal/readfile"
	"github.com/sluicenet/sluice/session"
)

// maxKeyFile bounds files that hold one key, in bytes.
const maxKeyFile = 4 << 10

// checkJournal says what would keep --session-journal from being kept.
func (cmd *settings) checkJournal() error {
	switch {
	case cmd.SessionJournal == "":
		return nil
	case cmd.SessionKey == "":
		return wrong("session-journal", "want --session-key, too: without it no ticket outlives the process")
	}
	if err := server.CheckSessionJournal(cmd.SessionJournal); err != nil {
		return wrong("session-journal", "%w", err)
	}
	return nil
}

// loadSessionKey reads the key, and makes the file at the first start.
func loadSessionKey(name string) (key [session.KeySize]byte, err error) {
	key, err = readSessionKey(name)
	if !errors.Is(err, os.ErrNotExist) {
		return key, err
	}
	if _, err := rand.Read(key[:]); err != nil {
		return key, wrong("session-key", "%w", err)
	}
	// It has its name once it is whole: gateways that start together all want it.
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".new-*")
	if err != nil {
		return key, wrong("session-key", "%w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = fmt.Fprintln(f, hex.EncodeToString(key[:]))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Link(f.Name(), name)
		if err != nil && !errors.Is(err, os.ErrExist) { // not every file system has links
			err = os.Rename(f.Name(), name)
		}
	}
	if errors.Is(err, os.ErrExist) {
		return readSessionKey(name) // another gateway was faster
	}
	if err != nil {
		return key, wrong("session-key", "%w", err)
	}
	return key, nil
}

// checkSessionKey says why loadSessionKey would fail, as far as can be told without making the file.
func checkSessionKey(name string) error {
	_, err := readSessionKey(name)
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(filepath.Dir(name)); err != nil {
		return wrong("session-key", "%w", err)
	}
	return nil
}

func readSessionKey(name string) (key [session.KeySize]byte, err error) {
	text, err := readfile.Read(name, maxKeyFile)
	if err != nil {
		return key, wrong("session-key", "%w", err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(b) != len(key) {
		return key, wrong("session-key", "%s: want %d bytes as hex digits", name, len(key))
	}
	return [session.KeySize]byte(b), nil
}
