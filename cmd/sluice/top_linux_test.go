package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestScreen draws on a terminal: what it is given back as, and that no line is longer than it is wide.
func TestScreen(t *testing.T) {
	t.Parallel()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer ours.Close()
	if err := unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skip(err)
	}
	n, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Skip(err)
	}
	theirs, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer theirs.Close()
	if err := unix.IoctlSetWinsize(int(theirs.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 4, Col: 20}); err != nil {
		t.Fatal(err)
	}
	s := newScreen(theirs)
	if columns, lines := s.size(); columns != 20 || lines != 4 {
		t.Fatalf("%d columns, %d lines", columns, lines)
	}
	long := strings.Repeat("0123456789", 5)
	for range 2 {
		if err := s.show([]string{long, "b", "c", "d", "e"}); err != nil {
			t.Fatal(err)
		}
	}
	s.close()
	one := noWrap + topLeft + long[:20] + clearLine + "\r\nb" + clearLine + "\r\nc" + clearLine + "\r\nd" + clearLine + clearBelow + wrap
	want := otherScreen + one + one + firstScreen
	raw := ""
	for b := make([]byte, 1024); !strings.HasSuffix(raw, firstScreen) && len(raw) < 2*len(want); {
		n, err := ours.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		raw += string(b[:n])
	}
	// The terminal's own \r goes, wherever the pieces ended that were read.
	if got := strings.ReplaceAll(raw, "\r\r\n", "\r\n"); got != want {
		t.Errorf("the terminal gets\n%q, want\n%q", got, want)
	}
}
