// Command gnetecho is the least a gnet server has to do to answer GOSOC clients: Connect with ConnAck, PingReq with
// PingResp, a request with its own payload. It shares no code with the gateway.
//
// # Data flow
//
//	gnet's loop -> all packets of one read -> answers in the connection's buffer -> one Write
//
// # Goroutines
//
// gnet's: one per loop.
package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"

	"github.com/panjf2000/gnet/v2"
)

func main() {
	addr := flag.String("listen", "127.0.0.1:7000", "host:port")
	loops := flag.Int("loops", 0, "event loops; 0: one per core")
	flag.Parse()
	options := []gnet.Option{gnet.WithMulticore(true), gnet.WithTCPNoDelay(gnet.TCPNoDelay)}
	if *loops > 0 {
		options = append(options, gnet.WithNumEventLoop(*loops))
	}
	if err := gnet.Run(&echo{}, "tcp://"+*addr, options...); err != nil {
		fmt.Fprintln(os.Stderr, "gnetecho:", err)
		os.Exit(1)
	}
}

type echo struct{ gnet.BuiltinEventEngine }

// OnOpen gives the connection the buffer its answers are put together in.
func (echo) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	c.SetContext(new([]byte))
	return nil, gnet.None
}

func (echo) OnTraffic(c gnet.Conn) gnet.Action {
	src, err := c.Peek(-1)
	if err != nil {
		return gnet.Close
	}
	buf := c.Context().(*[]byte)
	out := (*buf)[:0]
	used := 0
	for {
		body, n := packet(src[used:])
		if n == 0 {
			break
		}
		if out = answer(out, src[used], body); out == nil {
			return gnet.Close
		}
		used += n
	}
	*buf = out
	if _, err := c.Discard(used); err != nil {
		return gnet.Close
	}
	if len(out) > 0 {
		if _, err := c.Write(out); err != nil {
			return gnet.Close
		}
	}
	return gnet.None
}

// packet is the first packet of src and its length, 0 if it is not whole.
func packet(src []byte) (body []byte, n int) {
	if len(src) < 2 {
		return nil, 0
	}
	size, head := binary.Uvarint(src[1:])
	if head <= 0 || uint64(len(src)-1-head) < size {
		return nil, 0
	}
	n = 1 + head + int(size)
	return src[1+head : n], n
}

const (
	statusOK = `{"status":0,"data":`
	idBytes  = 2
)

// answer appends the answer to a packet; nil says that it makes no sense.
func answer(out []byte, first byte, body []byte) []byte {
	switch first >> 4 {
	case 1: // Connect
		return append(out, 0x20, 2, 0, 0)
	case 3: // PingReq
		return append(out, 0x40, 0)
	case 6: // SendReq: id, route, payload
		if len(body) < idBytes {
			return nil
		}
		_, rest := field(body[idBytes:])
		payload, _ := field(rest)
		reply := len(statusOK) + len(payload) + 1
		var length [binary.MaxVarintLen32]byte
		n := binary.PutUvarint(length[:], uint64(reply))
		out = append(out, 0x70)
		out = binary.AppendUvarint(out, uint64(idBytes+n+reply))
		out = append(append(out, body[:idBytes]...), length[:n]...)
		return append(append(append(out, statusOK...), payload...), '}')
	}
	return nil
}

// field splits length-prefixed bytes off b.
func field(b []byte) (f, rest []byte) {
	size, head := binary.Uvarint(b)
	if head <= 0 || uint64(len(b)-head) < size {
		return nil, nil
	}
	return b[head : head+int(size)], b[head+int(size):]
}
