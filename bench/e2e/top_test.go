package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A screen is a terminal of tmux in which a program runs.
type screen struct {
	tb     testing.TB
	socket string
}

// startScreen runs a command line of the shell on a terminal of its own. It skips without tmux.
func startScreen(tb testing.TB, columns, lines int, command string) *screen {
	tb.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		tb.Skip("no tmux here")
	}
	s := &screen{tb, filepath.Join(tb.TempDir(), "tmux")}
	s.tmux("-f", "/dev/null", "new-session", "-d", "-x", strconv.Itoa(columns), "-y", strconv.Itoa(lines), command)
	tb.Cleanup(func() { _ = exec.Command("tmux", "-S", s.socket, "kill-server").Run() })
	return s
}

func (s *screen) tmux(args ...string) string {
	s.tb.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", s.socket}, args...)...).CombinedOutput()
	if err != nil {
		s.tb.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

func (s *screen) press(keys ...string) { s.tmux(append([]string{"send-keys"}, keys...)...) }

// await waits until all parts are on the screen, which it returns.
func (s *screen) await(p *process, parts ...string) (text string) {
	s.tb.Helper()
	missing := ""
	if !p.await(func() bool {
		text = s.tmux("capture-pane", "-p")
		for _, missing = range parts {
			if !strings.Contains(text, missing) {
				return false
			}
		}
		return true
	}, "the screen") {
		s.tb.Errorf("no %q in\n%s", missing, text)
	}
	return text
}

// TestTopOnATerminal uses top as a person does: in 80 columns and 24 lines, and in others.
func TestTopOnATerminal(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	ann, bob := p.login(t, modes[0], token("ann")), p.login(t, modes[0], token("bob"))
	ann.subscribe("news")
	bob.subscribe("news")
	s := startScreen(t, 80, 24, fmt.Sprintf("echo before; %s top -i 200ms --admin %s; echo exit code $?; read never", gatewayBinary, p.adminURL(t)))
	text := s.await(p, "connections  2 of", "Connections", "ann", "bob", "q quit", "2 connections")
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) != 24 || !strings.HasPrefix(lines[0], " sluice ") || !strings.Contains(lines[23], "q quit") {
		t.Errorf("%d lines:\n%s", len(lines), text)
	}
	s.press("Tab")
	s.await(p, "1 topic", "news", "subscribers↓")
	s.press("Enter") // its subscribers
	s.await(p, "in news", "ann", "bob")
	s.press("/")
	s.press("-l", "an")
	s.await(p, "/an_", "1 connection")
	s.press("Enter")
	s.press("Enter")
	s.await(p, "protocol ", "topics ", "news", "esc back")
	for _, size := range [][2]int{{200, 50}, {40, 10}, {100, 30}} {
		s.tmux("resize-window", "-x", strconv.Itoa(size[0]), "-y", strconv.Itoa(size[1]))
		p.await(func() bool {
			lines := strings.Split(strings.TrimSuffix(s.tmux("capture-pane", "-p"), "\n"), "\n")
			return len(lines) == size[1] && strings.HasPrefix(lines[0], " sluice ") && strings.Contains(lines[size[1]-1], "esc back")
		}, fmt.Sprintf("the screen of %d columns and %d lines", size[0], size[1]))
	}
	s.press("x")
	s.await(p, "Kick ann?")
	s.press("y")
	s.await(p, "ann was kicked")
	s.press("4")
	s.await(p, "forced-offline", "Ended")
	s.press("p")
	s.await(p, "PAUSED")
	s.press("?")
	s.await(p, "any key goes on")
	s.press("Space", "q")
	if text := s.await(p, "exit code 0"); !strings.Contains(text, "before") || strings.Contains(text, "forced-offline") {
		t.Errorf("the terminal is not as it was:\n%s", text)
	}
}
