package link

import (
	"net"

	"golang.org/x/sys/unix"
)

// notSentMost is how many bytes may wait in the kernel to be sent: what waits there is in the order
// in which it came, whoever it is from. It is a batch, so that the network does not wait for
// us.
const notSentMost = batchSize

// preferShortQueue has what a worker does not take wait in its outbox, not in the kernel.
func preferShortQueue(conn net.Conn) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { // without it the queue is less fair
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentMost)
	})
}
