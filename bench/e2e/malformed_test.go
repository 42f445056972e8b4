package e2e

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"
)

// wantClosedAtOnce writes b and wants a plain close without a word. The gateway's deadlines are
// longer than our patience: it cannot have waited for one of them.
func (c *client) wantClosedAtOnce(b []byte) {
	c.tb.Helper()
	_ = c.send(b) // the gateway may close before all is written
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	if p, err := c.mode.read(c.r); !errors.Is(err, io.EOF) {
		c.tb.Fatalf("got %v, %v, want a plain end at once", p, err)
	}
}

// malformedFirst are what no client may begin with. All lead to a close, without ConnAck but for
// brokenConnects.
func malformedFirst(m mode) map[string][]byte {
	good := m.connectBody(60, m.text(`{"token":"x"}`))
	nameLength := len(m.fieldLength(5))
	edit := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return m.packet(connect, 0, b)
	}
	plain := mode{fixed6: m.fixed6}
	zipped := mode{fixed6: m.fixed6, gzip: true}
	gz := zip([]byte(`{"token":"x"}`))
	first := map[string][]byte{
		"PingReq first":           m.ping(),
		"SendReq first":           m.ask(1, "sluice.Echo", "1"),
		"ConnAck first":           m.packet(connAck, 0, []byte{0, 0}),
		"PingResp first":          m.packet(pingResp, 0),
		"SendResp first":          m.packet(sendResp, 0, []byte{0, 1}, m.field(m.text("{}"))),
		"Disconnect first":        m.packet(disconnect, 0, []byte{0}),
		"reserved bit":            m.packet(connect, 1, good),
		"name GOSOX":              edit(nameLength+4, 'X'),
		"name gosoc":              edit(nameLength, 'g'),
		"name too short":          m.packet(connect, 0, m.field([]byte("GOSO")), good[nameLength+5:]),
		"name too long":           m.packet(connect, 0, m.field([]byte("GOSOCK")), good[nameLength+5:]),
		"name empty":              m.packet(connect, 0, m.field(nil), good[nameLength+5:]),
		"version 2":               edit(nameLength+5, 2),
		"version 255":             edit(nameLength+5, 255),
		"flag bit 0x40":           edit(nameLength+6, 0x40),
		"flag bit 0x01":           edit(nameLength+6, 0x01),
		"flag bits 0xFF":          edit(nameLength+6, 0xFF),
		"empty body":              m.packet(connect, 0),
		"only a name":             m.packet(connect, 0, m.field([]byte("GOSOC"))),
		"no keep-alive":           m.packet(connect, 0, m.field([]byte("GOSOC")), []byte{1, 0}),
		"no payload field":        m.packet(connect, 0, m.field([]byte("GOSOC")), []byte{1, 0, 0, 60}),
		"a byte left over":        m.packet(connect, 0, good, []byte{0}),
		"payload runs past":       m.packet(connect, 0, good[:len(good)-1]),
		"name runs past":          m.packet(connect, 0, m.fieldLength(100), good[nameLength:]),
		"length 2^28-1":           m.header(connect, 0, 1<<28-1),
		"length above 64 KiB":     m.header(connect, 0, 64<<10+1),
		"payload is no gzip":      m.packet(connect, 0, zipped.connectBody(0, []byte(`{"token":"x"}`))),
		"gzip cut":                m.packet(connect, 0, zipped.connectBody(0, gz[:len(gz)-1])),
		"gzip cut in its header":  m.packet(connect, 0, zipped.connectBody(0, gz[:5])),
		"gzip with a bad CRC":     m.packet(connect, 0, zipped.connectBody(0, spoil(gz, len(gz)-8))),
		"gzip with a bad length":  m.packet(connect, 0, zipped.connectBody(0, spoil(gz, len(gz)-1))),
		"gzip with junk behind":   m.packet(connect, 0, zipped.connectBody(0, append(bytes.Clone(gz), 'x'))),
		"TLS":                     unhex("16 03 01 00 05 01 00 00 01 00"),
		"type 0":                  {0x00},
		"zeros":                   make([]byte, 64),
		"all ones":                bytes.Repeat([]byte{0xFF}, 64),
		"the other form's length": append(mode{fixed6: !m.fixed6}.header(connect, 0, len(good))[:1], good...),
	}
	for typ := byte(8); typ <= 15; typ++ {
		first["type "+string('0'+typ/10)+string('0'+typ%10)] = m.header(typ, 0, 0)[:1]
	}
	if m.fixed6 {
		first["length -1"] = unhex("01 ffffffff 00")
		first["length -2^31"] = unhex("01 80000000 00")
		first["length 2^28"] = unhex("01 10000000 00")
	} else {
		first["length of 5 bytes, 4 sent"] = unhex("10 ffffffff")
		first["length of 5 zeros, 4 sent"] = unhex("10 80808080")
		first["header flag 0x02"] = plain.packet(connect, 2, plain.connectBody(0, []byte("{}")))
		first["header flag 0x0E"] = plain.packet(connect, 0xE, plain.connectBody(0, []byte("{}")))
		first["name claims 256 MiB"] = unhex("10 ffffff7f ffffff7f 474f534f43")
		first["name claims 256 MiB in 20 bytes"] = m.packet(connect, 0, unhex("ffffff7f 474f534f43 01 00 003c 00 0000000000"))
		first["name's length has 5 bytes"] = m.packet(connect, 0, unhex("ffffffff 474f534f43 01 00 003c 00 0000000000"))
	}
	return first
}

// brokenConnects are those of malformedFirst that are a Connect, whole and of GOSOC: whoever sends
// one may wait for the answer.
var brokenConnects = map[string]bool{
	"only a name": true, "no keep-alive": true, "no payload field": true,
	"version 2": true, "version 255": true,
	"flag bit 0x40": true, "flag bit 0x01": true, "flag bits 0xFF": true,
	"a byte left over": true, "payload runs past": true,
	"payload is no gzip": true, "gzip cut": true, "gzip cut in its header": true,
	"gzip with a bad CRC": true, "gzip with a bad length": true, "gzip with junk behind": true,
}

// malformedLater are what no client may send when it is logged in. All lead to a close without a
// word.
func malformedLater(m mode) map[string][]byte {
	id := []byte{0, 9}
	route := m.field([]byte("sluice.Upload"))
	payload := m.field(m.text("{}"))
	later := map[string][]byte{
		"ConnAck":              m.packet(connAck, 0, []byte{0, 0}),
		"ConnAck, header only": m.header(connAck, 0, 2),
		"PingResp":             m.packet(pingResp, 0),
		"SendResp":             m.packet(sendResp, 0, id, m.field(m.text("{}"))),
		"PingReq with a body":  m.packet(pingReq, 0, []byte{0}),
		"Disconnect empty":     m.packet(disconnect, 0),
		"Disconnect of 2":      m.packet(disconnect, 0, []byte{0, 0}),
		"reserved: PingReq":    m.packet(pingReq, 1),
		"reserved: SendReq":    m.packet(sendReq, 3, id, route, payload),
		"reserved: Disconnect": m.packet(disconnect, 1, []byte{0}),
		"reserved: Connect":    m.packet(connect, 1, m.connectBody(0, m.text("{}"))),
		"type 0":               {0x00},
		"length 2^28-1":        m.header(sendReq, 2, 1<<28-1),
		"no body":              m.packet(sendReq, 2),
		"half an id":           m.packet(sendReq, 2, []byte{0}),
		"no route":             m.packet(sendReq, 2, id),
		"no payload":           m.packet(sendReq, 2, id, route),
		"route runs past":      m.packet(sendReq, 2, id, m.fieldLength(200), route, payload),
		"payload runs past":    m.packet(sendReq, 2, id, route, m.fieldLength(5000), m.text("{}")),
		"data runs past":       m.packet(sendReq, 2|8, id, route, payload, m.fieldLength(9), []byte("12345678")),
		"a byte left over":     m.packet(sendReq, 2, id, route, payload, []byte{0}),
		"a byte behind data":   m.packet(sendReq, 2|8, id, route, payload, m.field([]byte("data")), []byte{0}),
		"junk":                 bytes.Repeat([]byte{0xA5}, 1000),
	}
	for typ := byte(8); typ <= 15; typ++ {
		later["type "+string('0'+typ/10)+string('0'+typ%10)] = m.header(typ, 0, 0)[:1]
	}
	if m.fixed6 {
		later["type 255"] = []byte{255}
		later["length -1"] = unhex("06 ffffffff 02")
		later["length -2^31"] = unhex("06 80000000 02")
		later["length 2^28"] = unhex("06 10000000 02")
		later["a compact request"] = mode{gzip: m.gzip}.ask(1, "sluice.Echo", "1")
		later["a compact ping"] = mode{}.ping()
	} else {
		later["length of 5 bytes, 4 sent"] = unhex("62 ffffffff")
		later["length of 5 zeros, 4 sent"] = unhex("62 80808080")
		later["route claims 256 MiB"] = m.packet(sendReq, 2, id, unhex("ffffff7f"), route)
		later["a fixed6 request"] = mode{fixed6: true, gzip: m.gzip}.ask(1, "sluice.Echo", "1")
		later["a fixed6 ping"] = mode{fixed6: true}.ping()
	}
	if m.gzip {
		gz := zip([]byte(`{"n":1}`))
		for name, bad := range map[string][]byte{
			"payload is no gzip":           []byte("{}"),
			"payload gzip cut":             gz[:len(gz)-1],
			"payload gzip header only":     gz[:10],
			"payload gzip with a bad CRC":  spoil(gz, len(gz)-8),
			"payload gzip, bad length":     spoil(gz, len(gz)-1),
			"payload gzip with junk":       append(bytes.Clone(gz), 'x'),
			"payload gzip, unknown method": spoil(gz, 2),
		} {
			later[name] = m.sendReq(1, 1, "sluice.Echo", bad)
		}
	}
	return later
}

// spoil flips bits of one byte.
func spoil(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 0x55
	return b
}

func TestMalformedFirst(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	eachMode(t, modes, func(t *testing.T, m mode) {
		for name, b := range malformedFirst(m) {
			t.Run(name, func(t *testing.T) {
				c := p.dial(t, m)
				if brokenConnects[name] {
					c.write(b)
					c.wantConnAck(serverUnavailable)
					b = nil
				}
				if name == "TLS" { // it hears why in its own words
					c.write(b)
					_ = c.conn.SetReadDeadline(time.Now().Add(patience))
					if answer, err := io.ReadAll(c.r); err != nil || !bytes.HasPrefix(answer, []byte("\x15\x03")) {
						t.Errorf("%x, %v, want an alert", answer, err)
					}
				} else {
					c.wantClosedAtOnce(b)
				}
				p.wantServing(t)
			})
		}
	})
}

func TestMalformedLater(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	witness := p.login(t, modes[0], "")
	eachMode(t, modes, func(t *testing.T, m mode) {
		for name, b := range malformedLater(m) {
			t.Run(name, func(t *testing.T) {
				p.login(t, m, "").wantClosedAtOnce(b)
				witness.wantEcho("1")
			})
			// What was asked before it is answered, what comes behind it is not.
			t.Run(name+" between requests", func(t *testing.T) {
				c := p.login(t, m, "")
				before := m.ask(1, "sluice.Echo", "1")
				if err := c.send(append(before, b...)); err == nil {
					_ = c.send(m.ask(2, "sluice.Echo", "2"))
				}
				c.wantReply(1, `{"status":0,"data":1}`)
				c.wantEOF()
			})
		}
	})
	p.wantServing(t)
}

// A listener for all protocols knows HTTP; what it cannot serve it refuses and closes.
func TestStrangersOnAnyListener(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	for name, b := range map[string]string{
		"GET":        "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST":       "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
		"TLS":        "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
		"SSH":        "SSH-2.0-OpenSSH_9.9\r\n",
		"MQTT":       "\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04abcd",
		"blank line": "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := p.dial(t, modes[0])
			_ = c.send([]byte(b))
			_ = c.conn.SetReadDeadline(time.Now().Add(patience))
			answer, err := io.ReadAll(c.r)
			if err != nil {
				t.Fatal(err)
			}
			if name == "TLS" && bytes.HasPrefix(answer, []byte("\x15\x03")) {
				answer = nil // an alert, which says why to who speaks TLS
			}
			if len(answer) > 0 && (name != "GET" && name != "POST" || !bytes.HasPrefix(answer, []byte("HTTP/1.1 4"))) {
				t.Errorf("the answer is %q", answer)
			}
			p.wantServing(t)
		})
	}
}

// Strange, but allowed: the deployed server takes these too.
func TestTolerated(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	eachMode(t, modes, func(t *testing.T, m mode) {
		t.Run("version 0", func(t *testing.T) {
			b := m.connectBody(0, m.text("{}"))
			b[len(m.fieldLength(5))+5] = 0
			c := p.dial(t, m)
			c.write(m.packet(connect, 0, b))
			c.wantConnAck(accepted)
		})
		t.Run("empty payloads in place of gzip", func(t *testing.T) {
			c := p.dial(t, m)
			c.write(m.packet(connect, 0, m.connectBody(0, nil)))
			c.wantConnAck(accepted)
			c.write(m.sendReq(1, 7, "sluice.Echo", nil))
			c.wantReply(7, `{"status":0,"data":null}`)
		})
		t.Run("flags on other types", func(t *testing.T) {
			c := p.login(t, m, "")
			for _, flags := range []byte{2, 4, 8, 14} {
				c.write(m.packet(pingReq, flags))
				c.wantPong()
			}
			c.write(m.packet(disconnect, 14, []byte{0}))
			c.wantEOF()
		})
		t.Run("reply levels that do not exist", func(t *testing.T) {
			c := p.login(t, m, "")
			c.write(m.sendReq(2, 1, "sluice.Echo", m.text("1")))
			c.write(m.sendReq(3, 2, "sluice.Echo", m.text("2")))
			c.write(m.ask(3, "sluice.Echo", "3"))
			c.wantReply(3, `{"status":0,"data":3}`)
		})
		t.Run("ids 0, 65535 and repeats", func(t *testing.T) {
			c := p.login(t, m, "")
			for _, id := range []uint16{0, 0, 65535, 65535, 1, 0} {
				c.write(m.ask(id, "sluice.Echo", "1"))
				c.wantReply(id, `{"status":0,"data":1}`)
			}
		})
		t.Run("a route that is not UTF-8", func(t *testing.T) {
			c := p.login(t, m, "")
			c.wantStatus("\xff\xfe.\x00", "{}", 4)
			c.wantStatus("", "{}", 4)
			c.wantEcho("1")
		})
	})
	t.Run("lengths with useless bytes", func(t *testing.T) {
		c := p.dial(t, modes[0])
		body := modes[0].connectBody(0, nil)
		c.write(append([]byte{0x10, byte(len(body)) | 0x80, 0x80, 0x00}, body...))
		c.wantConnAck(accepted)
		c.write(unhex("30 80808000"))
		c.wantPong()
		c.write(unhex("62 16 0001 8b8000 736c756963652e4563686f 838000 313233"))
		c.wantReply(1, `{"status":0,"data":123}`)
	})
}

// Random packets with a right header: the gateway may close, and must not fall over.
func TestNoise(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	random := rand.New(rand.NewPCG(1, 2))
	eachMode(t, modes, func(t *testing.T, m mode) {
		for range 150 {
			c := p.login(t, m, "")
			var b []byte
			for range 1 + random.IntN(4) {
				body := make([]byte, random.IntN(60))
				for i := range body {
					body[i] = byte(random.Uint32()) >> random.IntN(8)
				}
				typ := byte(1 + random.IntN(7))
				b = append(b, m.packet(typ, byte(random.IntN(8))<<1, body)...)
			}
			_ = c.send(b)
			_ = c.conn.CloseWrite()
			for {
				if _, err := c.next(); err != nil {
					if !over(err) {
						t.Fatalf("%x: %v", b, err)
					}
					break
				}
			}
		}
		p.wantServing(t)
	})
}
