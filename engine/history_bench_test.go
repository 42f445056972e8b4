package engine

import (
	"fmt"
	"io"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkPublish is a publisher to a topic with history and to one without, in runs of 64 and one by
// one.
func BenchmarkPublish(b *testing.B) {
	for _, run := range []int{64, 1} {
		for _, topic := range []string{"plain", "kept"} {
			b.Run(fmt.Sprint(topic, "/run=", run), func(b *testing.B) {
				benchmarkPublisher(b, Config{}, topic, run, "kept=1000,5m")
			})
		}
	}
}

// benchmarkPublisher is a publisher outside the loops that sends 100 B to ten subscribers who read, in
// runs of so many messages.
func benchmarkPublisher(b *testing.B, config Config, topic string, run int, rules ...string) {
	e, addr, _ := startKeeper(b, config, ListenConfig{}, rules...)
	for range 10 {
		k := dialKeeper(b, addr, "SUB "+topic)
		k.want("SUBSCRIBED true")
		_ = k.c.SetDeadline(time.Time{})
		go func() { _, _ = io.Copy(io.Discard, k.c) }()
	}
	pb, payload := e.NewPublisher(), make([]byte, 100)
	before, cpu := e.Stats().Deliveries, cpuTime(b)
	b.ResetTimer()
	for i := range b.N {
		_ = pb.Publish([]byte(topic), Push{Payload: payload})
		if i%run == run-1 {
			pb.Flush()
		}
	}
	pb.Flush()
	for e.Stats().Deliveries-before < 10*uint64(b.N) {
		time.Sleep(100 * time.Microsecond)
	}
	b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N), "cpu-ns/op")
}

// cpuTime is what the process has used, in ns, the readers with it.
func cpuTime(b *testing.B) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkResume is 1,000 sessions that resume at once, each of a topic of its own with 100 messages of
// 100 B that it has missed: ms until all have everything.
func BenchmarkResume(b *testing.B) {
	const sessions, missed = 1000, 100
	for range b.N {
		b.StopTimer()
		e, addr, s := startKeeper(b, Config{}, ListenConfig{}, "*=1000,5m")
		for i := range sessions {
			name := strconv.Itoa(i)
			k := dialKeeper(b, addr, "NAME "+name, "SUB "+name)
			k.want("RESUMED 0", "SUBSCRIBED true")
			k.cut(s, name)
		}
		pb, payload := e.NewPublisher(), make([]byte, 99)
		for i := range payload {
			payload[i] = 'x'
		}
		for i := range sessions {
			for range missed {
				_ = pb.Publish([]byte(strconv.Itoa(i)), Push{Payload: payload})
			}
		}
		pb.Flush()
		keepers := make([]*keeper, sessions)
		for i := range keepers {
			keepers[i] = dialKeeper(b, addr)
		}
		b.StartTimer()
		for i, k := range keepers {
			k.send("NAME " + strconv.Itoa(i))
		}
		for _, k := range keepers {
			k.want("RESUMED 1")
			if n, err := io.CopyN(io.Discard, k.r, missed*100); err != nil {
				b.Fatal(n, err)
			}
		}
		b.StopTimer()
		for _, k := range keepers {
			k.c.Close()
		}
	}
}
