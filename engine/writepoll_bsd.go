//go:build (darwin || freebsd) && !portable

package engine

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A writePoller waits for sockets that were full. gnet only reads; a socket whose send was
// refused is armed here, once, and the loop hears of it through its mailbox.
type writePoller struct {
	fd   int // the kqueue
	done chan struct{}
}

// A kevent is a unix.Kevent_t as the garbage collector is to see it, without a pointer: the user data
// is a Ref.
type kevent [unsafe.Sizeof(unix.Kevent_t{}) / 8]uint64

func (k *kevent) fields() *unix.Kevent_t { return (*unix.Kevent_t)(unsafe.Pointer(k)) }

func (k *kevent) ref() *Ref { return (*Ref)(unsafe.Pointer(&k.fields().Udata)) }

func newWritePoller() (*writePoller, error) {
	fd, err := unix.Kqueue()
	if err != nil {
		return nil, fmt.Errorf("kqueue: %w", err)
	}
	unix.CloseOnExec(fd)
	p := &writePoller{fd: fd, done: make(chan struct{})}
	// The user event ends run (kqueue(2), EVFILT_USER). Ref 0 names no connection.
	if err := p.change(0, unix.EVFILT_USER, unix.EV_ADD|unix.EV_CLEAR, 0, 0, 0); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return p, nil
}

// lowWater is more room than a socket has: a write event with this low-water mark tells of the socket's
// failure alone (kqueue(2), EVFILT_WRITE with NOTE_LOWAT, and EV_EOF).
const lowWater = 1 << 30

// arm asks for one notice when fd can be written again, if room is of interest, or has failed. added
// says whether fd has been armed before.
func (p *writePoller) arm(fd int32, ref Ref, room, added bool) error {
	if added {
		p.remove(fd) // EV_ADD does not change the flags of an event that is still there
	}
	if room {
		return p.change(fd, unix.EVFILT_WRITE, unix.EV_ADD|unix.EV_ONESHOT, 0, 0, ref)
	}
	// A system may cap the mark at the buffer's size and tell of an empty buffer: run takes only EV_EOF
	// of an event that stays.
	return p.change(fd, unix.EVFILT_WRITE, unix.EV_ADD|unix.EV_CLEAR, unix.NOTE_LOWAT, lowWater, ref)
}

// remove forgets fd, for a descriptor whose file stays open under another number.
func (p *writePoller) remove(fd int32) {
	_ = p.change(fd, unix.EVFILT_WRITE, unix.EV_DELETE, 0, 0, 0)
}

func (p *writePoller) change(ident int32, filter int16, flags uint16, fflags uint32, data int64, ref Ref) error {
	var k kevent
	f := k.fields()
	f.Ident, f.Filter, f.Flags, f.Fflags, f.Data = uint64(ident), filter, flags, fflags, data
	*k.ref() = ref
	if _, err := unix.Kevent(p.fd, unsafe.Slice(f, 1), nil, nil); err != nil {
		return fmt.Errorf("kevent: %w", err)
	}
	return nil
}

// run hands each notice to deliver until close is called.
func (p *writePoller) run(deliver func(Ref)) {
	defer close(p.done)
	events := make([]kevent, 256)
	for {
		n, err := unix.Kevent(p.fd, nil, unsafe.Slice(events[0].fields(), len(events)), nil)
		if err != nil && err != unix.EINTR {
			return
		}
		for i := range max(n, 0) {
			ref := *events[i].ref()
			if ref == 0 {
				return
			}
			if events[i].fields().Flags&(unix.EV_ONESHOT|unix.EV_EOF) != 0 {
				deliver(ref)
			}
		}
	}
}

// abandon closes a poller that never ran.
func (p *writePoller) abandon() { unix.Close(p.fd) }

func (p *writePoller) close() {
	_ = p.change(0, unix.EVFILT_USER, 0, unix.NOTE_TRIGGER, 0, 0)
	<-p.done
	p.abandon()
}
