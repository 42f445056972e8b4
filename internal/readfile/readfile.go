// Package readfile reads files that an operator names, none of which may stop the program: a pipe
// that nobody writes to, a device without end, or a file that somebody is writing just now.
package readfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/sluicenet/sluice/internal/roletoken"
)

// PipeTimeout is how long a pipe may take from its opening to its end.
const PipeTimeout = 5 * time.Second

// pipeLook is the time between two looks at a pipe that nobody has opened for writing yet.
const pipeLook = 10 * time.Millisecond

// Read returns what is in a file of at most limit bytes. A regular file that changes meanwhile is
// refused, since only half of it might be new. A pipe must end within PipeTimeout. Directories and
// devices are refused.
func Read(name string, limit int64) ([]byte, error) { return read(name, limit, PipeTimeout) }

// ReadNow is Read for those who cannot wait: a pipe is refused, and not opened, so that its writer
// still finds a reader who reads it.
func ReadNow(name string, limit int64) ([]byte, error) {
	if info, err := os.Stat(name); err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
		return nil, fmt.Errorf("%s is a pipe, want a file", name)
	}
	return read(name, limit, 0)
}

func read(name string, limit int64, timeout time.Duration) ([]byte, error) {
	// Without O_NONBLOCK opening a pipe waits for its writer.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, Unnamed(name, err)
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var b []byte
	switch mode := before.Mode(); {
	case mode.IsRegular():
		if before.Size() > limit {
			return nil, tooLong(name, limit)
		}
		if b, err = io.ReadAll(io.LimitReader(f, limit+1)); err != nil {
			return nil, err
		}
		after, err := f.Stat()
		if err != nil {
			return nil, err
		}
		if int64(len(b)) <= limit && (after.Size() != int64(len(b)) || !after.ModTime().Equal(before.ModTime())) {
			return nil, fmt.Errorf("%s changes while it is read", name)
		}
	case mode&fs.ModeNamedPipe != 0:
		if b, err = readPipe(f, limit, timeout); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	case mode.IsDir():
		return nil, fmt.Errorf("%s is a directory, want a file", name)
	default:
		return nil, fmt.Errorf("%s is a device or a socket, want a file or a pipe", name)
	}
	if int64(len(b)) > limit {
		return nil, tooLong(name, limit)
	}
	return b, nil
}

// Unnamed takes the name out of the error that a file cannot be opened, if it looks like a secret.
func Unnamed(name string, err error) error {
	if where, ok := errors.AsType[*fs.PathError](err); ok && LooksSecret(name) {
		return fmt.Errorf("the file that is named cannot be opened: %w (the name is not shown: it looks like what the file should hold)", where.Err)
	}
	return err
}

// leastSecret is the length from which on a word looks like a token or a key, in bytes.
const leastSecret = 16

// LooksSecret reports whether a file's name looks like what should be in a file of tokens or keys:
// words with blanks between them, a role, or a long word that is no path and has no ending. What begins
// like a path is one.
func LooksSecret(name string) bool {
	if strings.ContainsAny(name, "\r\n") {
		return true
	}
	for _, begin := range []string{"/", "./", "../", "~"} {
		if strings.HasPrefix(name, begin) {
			return false
		}
	}
	for _, role := range []string{roletoken.Full, roletoken.Read} {
		if rest, ok := strings.CutPrefix(name, role); ok && rest != "" && strings.ContainsAny(rest[:1], ":= \t") {
			return true
		}
	}
	return len(strings.Fields(name)) > 1 || len(name) >= leastSecret && !strings.ContainsAny(name, "/.")
}

func tooLong(name string, limit int64) error {
	return fmt.Errorf("%s is larger than %d bytes", name, limit)
}

// readPipe reads up to the writer's end. Until the first byte an end means that there is no writer
// yet.
func readPipe(f *os.File, limit int64, timeout time.Duration) ([]byte, error) {
	deadline := time.Now().Add(timeout)
	if err := f.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	for {
		b, err := io.ReadAll(io.LimitReader(f, limit+1))
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded), err == nil && len(b) == 0 && time.Now().After(deadline):
			return nil, fmt.Errorf("a pipe that has not ended within %v", timeout)
		case err != nil || len(b) > 0:
			return b, err
		}
		time.Sleep(pipeLook)
	}
}
