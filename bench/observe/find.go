package observe

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Listener finds the process that listens on a TCP port of this machine, 0 if there is none that we
// may look at.
func Listener(port uint16) int { return owner(listeningInode(port)) }

// UnixListener is Listener for a unix socket: a path, or @NAME.
func UnixListener(path string) int { return owner(unixInode(path)) }

// owner finds the process that has a socket open.
func owner(inode string) int {
	if inode == "" {
		return 0
	}
	want := "socket:[" + inode + "]"
	procs, _ := filepath.Glob("/proc/[0-9]*/fd")
	for _, dir := range procs {
		fds, err := os.ReadDir(dir)
		if err != nil {
			continue // gone, or another user's
		}
		for _, fd := range fds {
			if to, err := os.Readlink(dir + "/" + fd.Name()); err == nil && to == want {
				pid, _ := strconv.Atoi(strings.Split(dir, "/")[2])
				return pid
			}
		}
	}
	return 0
}

func listeningInode(port uint16) string {
	const listen = "0A"
	suffix := fmt.Appendf(nil, ":%04X", port)
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		for line := range bytes.Lines(b) {
			// sl local_address rem_address st ... inode is the tenth
			if f := bytes.Fields(line); len(f) > 9 && bytes.HasSuffix(f[1], suffix) && string(f[3]) == listen {
				return string(f[9])
			}
		}
	}
	return ""
}

func unixInode(path string) string {
	const listens = "00010000" // __SO_ACCEPTCON
	b, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		// Num RefCount Protocol Flags Type St Inode Path, of which the path may hold blanks
		f := strings.Fields(line)
		if len(f) > 7 && f[3] == listens && strings.HasSuffix(line, " "+path+"\n") {
			return f[6]
		}
	}
	return ""
}
