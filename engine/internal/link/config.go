package link

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/internal/lograte"
)

// Config sets up a Hub. Zero fields have the defaults they name.
type Config struct {
	// OpenWorker and CloseWorker are the worker ids that are told of clients that come and go.
	// 0: nobody is.
	OpenWorker, CloseWorker int
	// Idle is how long a worker may be silent. Zero means 120 s.
	Idle time.Duration
	// FirstByte is how long a worker may take to send anything at all; no longer than Idle. Zero
	// means 60 s.
	FirstByte time.Duration
	// WriteTimeout is how long a write to a worker may take. Zero means 10 s.
	WriteTimeout time.Duration
	// MaxPacket is the longest frame body a worker may send, in bytes, and so the most that is kept
	// of one that has not arrived whole. Zero means 2 MiB.
	MaxPacket int
	// Queue is how many bytes may wait for a worker, per link. A client may have no more of them
	// than stay free. One frame that is longer than that may wait beside them. Zero means 16 MiB.
	Queue int
	// Delayed is how many bytes of delayed messages may wait per link; four times as many on all
	// links together. Zero means 16 MiB.
	Delayed int
	// TLS has workers come with TLS. Nil: in plain text. A handshake may take ProofTimeout.
	TLS *tls.Config
	// Certificates has a client certificate that TLS has verified prove a worker, where there are no
	// Tokens: a worker must show one of those behind its certificate, too. Whether there must be a
	// certificate is for TLS.ClientAuth to say.
	Certificates bool
	// Proxy has each connection begin with a PROXY header, which says whose it is. Others than the
	// engine's Config.ProxyTrust are refused.
	Proxy bool
	// MaxLinks is how many connections workers may have. Each costs two goroutines and 64 KiB.
	// Zero means 4096.
	MaxLinks int
	// Tokens are secrets, one of which a worker must show when it registers. Each has MinToken to
	// MaxToken bytes; several are there so that they can be replaced one after another.
	Tokens []string
	// Allow are networks whose workers need no token, and AllowUnix says so of peers without an
	// address, such as those on unix sockets. If there are none, and no Tokens, loopback and peers
	// without an address need none. Others are refused if there are no Tokens.
	Allow     []netip.Prefix
	AllowUnix bool
	// ProofTimeout is how long a connection may take to show its token. Zero means 10 s.
	ProofTimeout time.Duration
	// MaxUnproven is how many connections one address (IPv4, or IPv6 /64) may have that have not
	// shown their token. Zero means 32.
	MaxUnproven int
	// FrameRate and ByteRate are how many frames, and bytes of them, a link may send a second, and at
	// once. With more it is not read for a while. Zero means no limit.
	FrameRate, ByteRate int
	// Limits are rate limits of messages to workers.
	Limits []Limit
	// Metrics are the numbers of the metrics that workers may ask for, 0 to 6.
	Metrics []int32
	// Logger receives what an operator should know. Nil discards.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Idle <= 0 {
		c.Idle = 120 * time.Second
	}
	if c.FirstByte <= 0 {
		c.FirstByte = 60 * time.Second
	}
	c.FirstByte = min(c.FirstByte, c.Idle)
	if c.WriteTimeout <= 0 {
		c.WriteTimeout = 10 * time.Second
	}
	if c.MaxPacket <= 0 {
		c.MaxPacket = netsvr.DefaultFrameLimit
	}
	if c.Queue <= 0 {
		c.Queue = 16 << 20
	}
	if c.Delayed <= 0 {
		c.Delayed = 16 << 20
	}
	if c.MaxLinks <= 0 {
		c.MaxLinks = 4096
	}
	if c.ProofTimeout <= 0 {
		c.ProofTimeout = 10 * time.Second
	}
	if c.MaxUnproven <= 0 {
		c.MaxUnproven = 32
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = lograte.Logger(c.Logger) // its callers are under the control of peers
	return c
}

// Check says what of c is out of its bounds, or said twice.
func (c *Config) Check() error {
	for _, id := range []int{c.OpenWorker, c.CloseWorker} {
		if id < 0 || id > gateway.MaxWorker {
			return fmt.Errorf("worker id %d, want 0 to %d", id, gateway.MaxWorker)
		}
	}
	names, owner := make(map[string]bool), make(map[int]string)
	for _, l := range c.Limits {
		if names[l.Name] {
			return fmt.Errorf("limit %s: given twice", l.Name)
		}
		names[l.Name] = true
		for _, id := range l.Workers {
			if other, ok := owner[id]; ok {
				return fmt.Errorf("limit %s: worker %d is in limit %s already", l.Name, id, other)
			}
			owner[id] = l.Name
		}
	}
	return nil
}

// A Limit bounds the messages per second to some workers, which share it.
type Limit struct {
	Name    string
	Workers []int
	Rate    int // messages per second, and the burst
}

// ParseLimit reads NAME=IDS@RATE, where IDS are worker ids and ranges of them: two-five=2-5@100000.
func ParseLimit(text string) (Limit, error) {
	bad := func(what string) (Limit, error) {
		return Limit{}, fmt.Errorf("limit %q: %s, want NAME=IDS@RATE, as two-five=2-5@100000", text, what)
	}
	name, rest, ok := strings.Cut(text, "=")
	if !ok || name == "" {
		return bad("no name")
	}
	ids, rate, ok := strings.Cut(rest, "@")
	if !ok {
		return bad("no rate")
	}
	l := Limit{Name: name}
	var err error
	if l.Rate, err = strconv.Atoi(rate); err != nil || l.Rate <= 0 || l.Rate > 1<<30 {
		return bad("rate " + strconv.Quote(rate))
	}
	for _, part := range strings.Split(ids, ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		a, err1 := strconv.Atoi(low)
		b, err2 := strconv.Atoi(high)
		if err1 != nil || err2 != nil || a < 1 || b > gateway.MaxWorker || a > b {
			return bad("worker ids " + strconv.Quote(part))
		}
		for id := a; id <= b; id++ {
			l.Workers = append(l.Workers, id)
		}
	}
	return l, nil
}

// ParseMetrics reads a list of metric numbers: "0-6", "none", or "0,3,5-6".
func ParseMetrics(text string) ([]int32, error) {
	if text == "none" {
		return nil, nil
	}
	var list []int32
	for _, part := range strings.Split(text, ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		a, err1 := strconv.Atoi(low)
		b, err2 := strconv.Atoi(high)
		if err1 != nil || err2 != nil || a < 0 || b >= numMetrics || a > b {
			return nil, fmt.Errorf("metrics %q: want numbers from 0 to %d, ranges of them, or none", text, numMetrics-1)
		}
		for n := a; n <= b; n++ {
			list = append(list, int32(n))
		}
	}
	return list, nil
}
