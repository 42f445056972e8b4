package logsink

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// A File is a file that lines are appended to, which can be opened anew: whoever rotates logs renames
// it, and asks for that. Any goroutine may use it.
type File struct {
	name string

	mu   sync.Mutex // guards file; not held while it is written
	file *os.File
}

// OpenFile opens a file by its name, or makes it, readable by its owner and group. It waits for nobody: a
// pipe that nobody reads is an error.
func OpenFile(name string) (*File, error) {
	f, err := open(name, os.O_CREATE)
	if err != nil {
		return nil, err
	}
	return &File{name: name, file: f}, nil
}

// CheckFile says what would keep a file from being opened, as far as that can be told without a trace: of
// a pipe, whoever reads it would be told that its writer has gone.
func CheckFile(name string) error {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist): // it is made, if there is a directory for it
		_, err = os.Stat(filepath.Dir(name))
		return err
	case err != nil:
		return err
	case info.Mode()&fs.ModeNamedPipe != 0:
		return nil
	}
	f, err := open(name, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

func open(name string, flag int) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|syscall.O_NONBLOCK|flag, 0o640)
	if errors.Is(err, syscall.ENXIO) {
		return nil, fmt.Errorf("open %s: it is a socket, or a pipe that nobody reads", name)
	}
	return f, err
}

// Reopen has what is written from now on go to the file that has the name now. On an error it goes where
// it went before.
func (f *File) Reopen() error {
	next, err := open(f.name, os.O_CREATE)
	if err != nil {
		return err
	}
	f.mu.Lock()
	last := f.file
	f.file = next
	f.mu.Unlock()
	return last.Close()
}

// Name returns the name that the file was opened by.
func (f *File) Name() string { return f.name }

// Write appends p to the file.
func (f *File) Write(p []byte) (int, error) {
	n, err := f.current().Write(p)
	if errors.Is(err, os.ErrClosed) && n == 0 { // it was opened anew meanwhile
		return f.current().Write(p)
	}
	return n, err
}

func (f *File) current() *os.File {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file
}

// Close closes the file.
func (f *File) Close() error { return f.current().Close() }
