package doctor

import (
	"fmt"
	"strings"
)

const (
	// defaultSendBuffer is --send-buffer where the flags are not known.
	defaultSendBuffer = 256 << 10
	// slowPart is the part of all clients, one in so many, that may be slow without anybody waiting: a
	// publish waits for subscribers only when a tenth of them are congested. So a tenth of all sockets
	// may be full at any time, by the gateway's own rule.
	slowPart = 10
	// memoryPart is the part of the machine's memory that TCP is not to have more of by our advice: half
	// of it, since the gateway itself needs the other half.
	memoryPart = 2
)

// sendBufferSize returns what the gateway asks for each socket, and what the kernel gives: it bounds
// what is asked for by wmem_max, and doubles it for its own bookkeeping (socket(7), SO_SNDBUF).
func (e *exam) sendBufferSize() (asked, most, given int64) {
	asked, ok := e.Flags.size("send-buffer")
	if !ok || asked <= 0 {
		asked = defaultSendBuffer
	}
	if most, ok = e.number("proc/sys/net/core/wmem_max"); !ok || most <= 0 {
		most = asked
	}
	return asked, most, 2 * min(asked, most)
}

// tcpMemory compares what TCP may have in all with what connections may take: a full send buffer, and
// a receive buffer that has grown to the most it may be.
func (e *exam) tcpMemory() []Finding {
	pages, rmem, wmem := e.numbers("proc/sys/net/ipv4/tcp_mem"), e.numbers("proc/sys/net/ipv4/tcp_rmem"), e.numbers("proc/sys/net/ipv4/tcp_wmem")
	if len(pages) < 3 || len(rmem) < 3 || len(wmem) < 3 {
		return nil
	}
	page := int64(e.PageSize)
	pressure, most := pages[1]*page, pages[2]*page
	_, _, send := e.sendBufferSize()
	receive := rmem[2]
	slow, both := most/send, most/(send+receive)
	tenth := max(int64(e.want)/slowPart, 1)
	raise := e.raiseTCPMemory(tenth * send)
	if now, ok := e.socketPages(); ok && now > pages[1] {
		return is(Error, fmt.Sprintf("TCP has %s now, over the %s where the kernel saves (tcp_mem)", size(now*page), size(pressure)),
			"windows shrink and segments are dropped, of all connections of this machine: what is sent comes up to a second late",
			e.raiseTCPMemory(max(tenth*send, 2*now*page)), e.smallerBuffers(most, tenth, send, rmem))
	}
	// The kernel leaves each socket the first numbers of tcp_rmem and tcp_wmem even when memory is short.
	if least := int64(e.want) * (rmem[0] + wmem[0]); most < least {
		return is(Error, fmt.Sprintf("TCP may have %s (tcp_mem), less than the %s that %s have a right to",
			size(most), size(least), plural(e.want, "connection")),
			"the kernel drops segments of all connections, and resets some", e.raiseTCPMemory(max(least, tenth*send)))
	}
	holds := fmt.Sprintf("TCP may have %s (tcp_mem): %s", size(most), plural(slow, "client"))
	switch {
	case slow < tenth:
		return is(Warning, fmt.Sprintf("%s that do not read fill it, %s each", holds, size(send)),
			fmt.Sprintf("of %s a tenth, %s, may be slow without the gateway waiting for them; then segments of everybody are dropped",
				number(e.want), number(tenth)),
			raise, e.smallerBuffers(most, tenth, send, rmem))
	case both < tenth:
		s, more := Note, ""
		if n := e.after["TCPMemoryPressures"]; n > 0 {
			s, more = Warning, fmt.Sprintf("; memory for TCP has been short %s already", plural(n, "time"))
		}
		return is(s, fmt.Sprintf("TCP may have %s (tcp_mem), a receive buffer up to %s (tcp_rmem): %s that are full both ways fill it%s",
			size(most), size(receive), plural(both, "connection"), more),
			fmt.Sprintf("a tenth of %s may be busy at once, clients or load tools of this machine; then segments of everybody are dropped",
				number(e.want)),
			e.smallerReceive(most/tenth-send, rmem), e.raiseTCPMemory(tenth*(send+receive)))
	}
	return fine("%s that do not read fill it, %s wanted at once", holds, number(tenth))
}

// raiseTCPMemory is the line that lets TCP have so many bytes, empty if the machine has too few. The
// three numbers have the proportions that the kernel gives them at its start (tcp_init_mem).
func (e *exam) raiseTCPMemory(bytes int64) string {
	if e.memory > 0 && bytes > e.memory/memoryPart {
		return ""
	}
	unit := (bytes + int64(e.PageSize)*6 - 1) / (int64(e.PageSize) * 6)
	return sysctl("net.ipv4.tcp_mem", 3*unit, 4*unit, 6*unit)
}

// smallerBuffers is the flag with which a tenth of all clients fits.
func (e *exam) smallerBuffers(most, tenth, send int64, rmem []int64) string {
	fits := most / tenth / 2 // the kernel doubles it
	if fits < rmem[0] || 2*fits >= send {
		return ""
	}
	return "--send-buffer " + flagSize(powerAtMost(fits)) + "   # or smaller send buffers, with which a slow client has less"
}

// smallerReceive is the line that bounds receive buffers, empty if that would be below what sockets
// begin with.
func (e *exam) smallerReceive(bytes int64, rmem []int64) string {
	if bytes < rmem[1] {
		return ""
	}
	return sysctl("net.ipv4.tcp_rmem", rmem[0], rmem[1], powerAtMost(bytes))
}

// sendBuffer says whether sockets get the send buffer that is asked for.
func (e *exam) sendBuffer() []Finding {
	asked, most, given := e.sendBufferSize()
	rmem := e.numbers("proc/sys/net/ipv4/tcp_rmem")
	if most < asked {
		return is(Note, fmt.Sprintf("send buffers of %s are asked for (--send-buffer), the kernel gives %s (wmem_max)", size(asked), size(most)),
			"less fits into the kernel before a client counts as slow; nothing is lost",
			sysctl("net.core.wmem_max", asked))
	}
	text := fmt.Sprintf("send buffers of %s, %s with the kernel's own part", size(asked), size(given))
	if len(rmem) == 3 {
		text += fmt.Sprintf("; receive buffers from %s up to %s", size(rmem[1]), size(rmem[2]))
	}
	return fine("%s", text)
}

// orphans looks at how many sockets may be closed with bytes still to be sent.
func (e *exam) orphans() []Finding {
	most, ok := e.number("proc/sys/net/ipv4/tcp_max_orphans")
	if !ok {
		return nil
	}
	found := fmt.Sprintf("%s sockets may be closed and still have something to send (tcp_max_orphans)", number(most))
	if most >= int64(e.want) {
		return fine("%s", found)
	}
	return is(Note, found, fmt.Sprintf("when all %s are closed at once, those over it are reset and may lose their last words", number(e.want)),
		sysctl("net.ipv4.tcp_max_orphans", powerAtLeast(int64(e.want))))
}

// A drop is a counter of the kernel that says that something was lost.
type drop struct{ name, what string }

// dropped describes counters that have moved, and whether they do now.
func (e *exam) dropped(drops []drop) (text string, now bool) {
	var list []string
	for _, d := range drops {
		n := e.after[d.name]
		if n == 0 {
			continue
		}
		part := number(n) + " " + d.what
		if n > e.before[d.name] {
			now = true
			part += fmt.Sprintf(", %s of them just now", number(n-e.before[d.name]))
		}
		list = append(list, part)
	}
	return strings.Join(list, "; "), now
}

// grows is a warning for what happens now, a note for what has happened at some time.
func grows(now bool) Severity {
	if now {
		return Warning
	}
	return Note
}

const sinceStart = " since this machine or container started"

// memoryDrops looks for signs that TCP was short of memory.
func (e *exam) memoryDrops() []Finding {
	if len(e.after) == 0 {
		return nil
	}
	text, now := e.dropped([]drop{
		{"TCPMemoryPressures", "times that memory for TCP was short (TCPMemoryPressures)"},
		{"TCPAbortOnMemory", "connections reset for it (TCPAbortOnMemory)"},
		{"PruneCalled", "receive buffers pruned (PruneCalled)"},
		{"RcvPruned", "segments dropped by that (RcvPruned)"},
	})
	if text == "" {
		return fine("TCP was never short of memory%s", sinceStart)
	}
	fix := ""
	if pages := e.numbers("proc/sys/net/ipv4/tcp_mem"); e.after["TCPMemoryPressures"] > 0 && len(pages) == 3 {
		fix = e.raiseTCPMemory(2 * pages[2] * int64(e.PageSize))
	}
	return is(grows(now), text+sinceStart,
		"what is pruned is sent again after up to a second; buffers are pruned when memory is short in all (tcp_mem), or when the reader of one socket stands still", fix)
}
