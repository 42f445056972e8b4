package sdnotify

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Timeout is how long a message may wait for room in the manager's socket.
const Timeout = time.Second

// Lines of messages; sd_notify(3) says what they mean.
const (
	Ready     = "READY=1"
	Reloading = "RELOADING=1" // wants Monotonic beside it
	Stopping  = "STOPPING=1"
	Watchdog  = "WATCHDOG=1"
)

// Status is a line that says in a few words what the process is at.
func Status(text string) string {
	return "STATUS=" + strings.Join(strings.Fields(text), " ") // a line break would end it
}

// ExtendTimeout is a line that asks for so much time for the start or stop that is under way.
func ExtendTimeout(d time.Duration) string {
	return "EXTEND_TIMEOUT_USEC=" + strconv.FormatInt(d.Microseconds(), 10)
}

// A Notifier sends messages to the service manager.
type Notifier struct{ address *net.UnixAddr }

// New returns what tells the manager that getenv's NOTIFY_SOCKET names, nil without one. An address
// that is neither a path nor @NAME is an error.
func New(getenv func(string) string) (*Notifier, error) {
	name := getenv("NOTIFY_SOCKET")
	switch {
	case name == "":
		return nil, nil
	case name[0] != '/' && name[0] != '@' || len(name) == 1:
		return nil, fmt.Errorf("NOTIFY_SOCKET=%q: want a path or @NAME", name)
	}
	return &Notifier{&net.UnixAddr{Name: name, Net: "unixgram"}}, nil
}

// Send sends lines as one message.
func (n *Notifier) Send(lines ...string) error {
	if n == nil {
		return nil
	}
	c, err := net.DialUnix(n.address.Net, nil, n.address)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(Timeout)); err != nil {
		return err
	}
	_, err = c.Write([]byte(strings.Join(lines, "\n")))
	return err
}

// WatchdogTime returns how long the manager waits for a Watchdog line before it takes process pid for
// dead; 0: it does not. The variables are WATCHDOG_USEC and WATCHDOG_PID.
func WatchdogTime(getenv func(string) string, pid int) (time.Duration, error) {
	text := getenv("WATCHDOG_USEC")
	if text == "" {
		return 0, nil
	}
	usec, err := strconv.ParseInt(text, 10, 64)
	if err != nil || usec <= 0 || usec > int64(1<<63-1)/int64(time.Microsecond) {
		return 0, fmt.Errorf("WATCHDOG_USEC=%q: want microseconds", text)
	}
	if of := getenv("WATCHDOG_PID"); of != "" && of != strconv.Itoa(pid) {
		return 0, nil // a parent's
	}
	return time.Duration(usec) * time.Microsecond, nil
}
