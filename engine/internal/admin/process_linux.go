package admin

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// collectProcess writes what is known of the process, in the families that client_golang has for it. That
// reads and parses more of /proc than it says, which at a scrape a second is among what takes longest.
func collectProcess(p *page) {
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &used) == nil {
		ns := unix.TimevalToNsec(used.Utime) + unix.TimevalToNsec(used.Stime)
		p.family("process_cpu_seconds_total", counter, "Total user and system CPU time spent in seconds.")
		p.sample(float64(ns) / 1e9)
	}
	if n, ok := openFiles(); ok {
		p.gauge("process_open_fds", "Number of open file descriptors.", float64(n))
	}
	var most unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &most) == nil {
		p.gauge("process_max_fds", "Maximum number of open file descriptors.", float64(most.Cur))
	}
	if unix.Getrlimit(unix.RLIMIT_AS, &most) == nil {
		p.gauge("process_virtual_memory_max_bytes", "Maximum amount of virtual memory available in bytes.", float64(most.Cur))
	}
	if text := p.read("/proc/self/statm"); text != nil {
		if pages := bytes.Fields(text); len(pages) > 1 {
			size := float64(os.Getpagesize())
			p.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", number(pages[0])*size)
			p.gauge("process_resident_memory_bytes", "Resident memory size in bytes.", number(pages[1])*size)
		}
	}
	if at := processStart(); at > 0 {
		p.gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", at)
	}
	if text := p.read("/proc/self/net/netstat"); text != nil {
		in, out := octets(text)
		p.family("process_network_receive_bytes_total", counter, "Number of bytes received by the process over the network.")
		p.sample(in)
		p.family("process_network_transmit_bytes_total", counter, "Number of bytes sent by the process over the network.")
		p.sample(out)
	}
}

// read reads a file of the kernel's, nil if it cannot. It is good until the next read.
func (p *page) read(name string) []byte {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	if p.room == nil {
		p.room = make([]byte, 16<<10)
	}
	n, err := io.ReadFull(f, p.room)
	if n == 0 || err == nil { // nothing, or more than there may be
		return nil
	}
	return p.room[:n]
}

// processCollector collects nothing more.
func processCollector() []prometheus.Collector { return nil }

func number(text []byte) float64 {
	n, _ := strconv.ParseFloat(string(text), 64) // of the kernel's
	return n
}

// openFiles returns how many descriptors the process has open. From Linux 6.2 on the directory's size says
// so; to list 15,000 of them takes a few milliseconds.
func openFiles() (n int, ok bool) {
	info, err := os.Stat("/proc/self/fd")
	if err != nil {
		return 0, false
	}
	if info.Size() > 0 {
		return int(info.Size()), true
	}
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0, false
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	return len(names), err == nil
}

// processStart returns when the process was started, unix time in seconds, 0 if that is not known.
var processStart = sync.OnceValue(func() float64 {
	self, err := procfs.Self()
	if err != nil {
		return 0
	}
	stat, err := self.Stat()
	if err != nil {
		return 0
	}
	at, _ := stat.StartTime()
	return at
})

// octets reads the bytes that were received and sent, of IP in the process' network namespace, off
// /proc/self/net/netstat: a line of names and one of numbers, each behind the name of their protocol.
func octets(text []byte) (in, out float64) {
	const protocol = "IpExt:"
	_, text, _ = bytes.Cut(text, []byte(protocol))
	names, text, _ := bytes.Cut(text, []byte(protocol))
	numbers, _, _ := bytes.Cut(text, []byte("\n"))
	values := bytes.Fields(numbers)
	i := 0
	for name := range bytes.FieldsSeq(names) {
		if i == len(values) {
			break
		}
		switch string(name) {
		case "InOctets":
			in = number(values[i])
		case "OutOctets":
			out = number(values[i])
		}
		i++
	}
	return in, out
}
