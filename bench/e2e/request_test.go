package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func TestEcho(t *testing.T) {
	p := startDev(t)
	eachMode(t, modes, func(t *testing.T, m mode) {
		c := p.login(t, m, "")
		for _, payload := range []string{
			`null`, `1`, `-0.5e3`, `"text"`, `"\u003c é ☃"`, `[]`, `{}`, ` { "spaces" : [ 1 , 2 ] } `,
			`{"b":1,"a":2,"b":3}`, `"` + strings.Repeat("x", 200) + `"`, `"` + strings.Repeat("y", 60000) + `"`,
		} {
			c.wantEcho(payload)
		}
		c.wantAnswer("sluice.Echo", "", `{"status":0,"data":null}`)
	})
}

func TestEchoOfOneMiB(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	random := rand.New(rand.NewPCG(3, 4))
	noise := make([]byte, 1<<19-1)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	payload := `"` + hex.EncodeToString(noise) + `"` // gzip halves it at best
	for _, m := range modes[:2] {
		c := p.login(t, m, "")
		for range 5 {
			c.wantEcho(payload)
		}
		c.wantEcho(`"` + strings.Repeat("z", 1<<20) + `"`)
	}
	// Fixed6 has no words for it, whichever way it goes; a gzip that fits is fine.
	long := strings.Repeat("z", 1<<20)
	p.login(t, modes[3], "").wantEcho(`"` + long + `"`)
}

// A reply that fixed6 cannot express becomes an error, and the connection stays.
func TestReplyTooLongForFixed6(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	c := p.login(t, mode{fixed6: true}, "")
	const around = len(`{"status":0,"data":""}`)
	fits := `"` + strings.Repeat("x", 65535-around) + `"`
	c.wantEcho(fits)
	c.wantStatus("sluice.Echo", fits[:1]+"x"+fits[1:], 5)
	c.wantStatus("sluice.Echo", `"`+strings.Repeat("x", 65533)+`"`, 5)
	c.wantEcho("1")
}

func TestErrors(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	eachMode(t, modes, func(t *testing.T, m mode) {
		c := p.login(t, m, "")
		for _, tt := range []struct{ route, payload string }{
			{"sluice.Nothing", "{}"},
			{"sluice", "{}"},
			{"", "{}"},
			{"chat.AddMessage", `{"message":"hi"}`},
			{"sluice.Echo", "{"},
			{"sluice.Echo", "nul"},
			{"sluice.Echo", "1 2"},
			{"sluice.Subscribe", ""},
			{"sluice.Subscribe", "{}"},
			{"sluice.Subscribe", `{"topics":"a"}`},
			{"sluice.Subscribe", `{"topics":[1]}`},
			{"sluice.Subscribe", `{"topics":[""]}`},
			{"sluice.Publish", `{}`},
			{"sluice.Publish", `{"topic":1,"data":1}`},
			{"sluice.Publish", `{"topic":"","data":1}`},
			{strings.Repeat("long", 5000), "{}"},
		} {
			c.wantStatus(tt.route, tt.payload, 4)
		}
		c.wantEcho("1")
	})
}

func TestUpload(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	random := rand.New(rand.NewPCG(5, 6))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	big := noise(1 << 20)
	small := noise(5000)
	magic := append([]byte{0x1F}, noise(100)...)
	magic[1] = 0x8C
	for _, tt := range []struct {
		name       string
		data, want []byte
		onlyLong   bool
	}{
		{"four bytes", []byte{0, 1, 2, 255}, []byte{0, 1, 2, 255}, false},
		{"empty", nil, nil, false},
		{"one byte 1F", []byte{0x1F}, []byte{0x1F}, false},
		{"1F 8C", magic, magic, false},
		{"5000 bytes", small, small, false},
		{"gzip", zip(small), small, false},
		{"gzip of nothing", zip(nil), nil, false},
		{"gzip members are joined", append(zip([]byte("one")), zip([]byte("two"))...), []byte("onetwo"), false},
		{"gzip of gzip loses one layer", zip(zip(small)), zip(small), false},
		{"gzip of many zeros", zip(make([]byte, 1<<20)), make([]byte, 1<<20), false},
		{"1 MiB", big, big, true},
		{"1 MiB, gzip", zip(big), big, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachMode(t, modes, func(t *testing.T, m mode) {
				if m.fixed6 && tt.onlyLong {
					t.Skip("longer than a field of fixed6")
				}
				c := p.login(t, m, "")
				c.write(m.sendReq(1, 5, "sluice.Upload", m.text("{}"), tt.data))
				c.wantReply(5, uploaded(tt.want))
				c.write(m.sendReq(1, 6, "sluice.Upload", nil, tt.data))
				c.wantReply(6, uploaded(tt.want))
			})
		})
	}
	eachMode(t, modes, func(t *testing.T, m mode) {
		c := p.login(t, m, "")
		// The C++ client sets the data bit and leaves the field out.
		body := append([]byte{0, 1}, m.field([]byte("sluice.Upload"))...)
		body = append(body, m.field(m.text("{}"))...)
		c.write(m.packet(sendReq, 2|8, body))
		c.wantReply(1, uploaded(nil))
		// No attachment at all is the same to the route.
		c.wantAnswer("sluice.Upload", "{}", uploaded(nil))
		// A level 0 upload goes without an answer.
		c.write(m.sendReq(0, 2, "sluice.Upload", m.text("{}"), []byte("x")))
		c.wantEcho("1")
	})
}

func uploaded(data []byte) string {
	return fmt.Sprintf(`{"status":0,"data":{"len":%d,"sha256":"%x"}}`, len(data), sha256.Sum256(data))
}

// Data that begins like gzip and is none: a close or the bytes as they are, and no crash.
func TestUploadOfBadGzip(t *testing.T) {
	p := startDev(t)
	gz := zip([]byte("some data"))
	for name, data := range map[string][]byte{
		"two bytes":   {0x1F, 0x8B},
		"not gzip":    append([]byte{0x1F, 0x8B}, "hello there"...),
		"cut":         gz[:len(gz)-3],
		"bad CRC":     spoil(gz, len(gz)-8),
		"junk behind": append(bytes.Clone(gz), "junk"...),
	} {
		t.Run(name, func(t *testing.T) {
			eachMode(t, modes, func(t *testing.T, m mode) {
				c := p.login(t, m, "")
				c.write(m.sendReq(1, 5, "sluice.Upload", m.text("{}"), data))
				got, err := c.next()
				if err != nil {
					if !over(err) {
						t.Fatal(err)
					}
				} else if msg, err := m.message(got); err != nil || msg.id != 5 || msg.payload != uploaded(data) {
					t.Fatalf("%+v, %v", msg, err)
				}
				p.wantServing(t)
			})
		})
	}
}

func TestPushMe(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	eachMode(t, modes, func(t *testing.T, m mode) {
		c := p.login(t, m, "")
		for _, payload := range []string{`{"n":1}`, ` [ 1 ] `, `"` + strings.Repeat("p", 50000) + `"`} {
			c.write(m.ask(3, "sluice.PushMe", payload))
			// Which of the two comes first is not said.
			var push, reply bool
			for range 2 {
				got, err := c.next()
				if err != nil {
					t.Fatal(err)
				}
				msg, err := m.message(got)
				switch {
				case err != nil:
					t.Fatal(err)
				case got.typ == sendReq && !push && msg.route == "push" && msg.payload == payload:
					push = true
				case got.typ == sendResp && !reply && msg.id == 3 && msg.payload == okReply:
					reply = true
				default:
					t.Fatalf("%v: %+v", got, msg)
				}
			}
		}
		// Level 0: the push, and no answer.
		c.write(m.sendReq(0, 0, "sluice.PushMe", m.text("2")))
		c.wantPush("push", "2")
		c.wantQuiet(50 * time.Millisecond)
	})
}

func TestPushRoute(t *testing.T) {
	p := startDev(t, "--push-route", "notice.New")
	for _, m := range modes {
		c := p.login(t, m, "")
		c.write(m.sendReq(0, 0, "sluice.PushMe", m.text(`{"n":1}`)))
		c.wantPush("notice.New", `{"n":1}`)
	}
}

// The fact sheet's vectors, as the deployed clients write them.
func TestFieldVectors(t *testing.T) {
	p := startDev(t)
	const noRoute = 4
	for _, tt := range []struct {
		name    string
		mode    mode
		connect string
		request []string
	}{
		{"A, plain", mode{}, "101a05474f534f430100003c0f7b22746f6b656e223a22616263227d", []string{
			"622300010f636861742e4164644d657373616765107b226d657373616765223a226869227d",
			"6a2801020f636861742e4164644d657373616765107b226d657373616765223a226869227d04000102ff",
			"6a4000040f636861742e4164644d657373616765107b226d657373616765223a226869227d1c1f8b08000000000000ff72710c7104040000ffffd71e669b04000000",
			"6213ffff0f636861742e4164644d65737361676500",
			"6a2400060f636861742e4164644d657373616765107b226d657373616765223a226869227d00",
		}},
		{"A, gzip", mode{gzip: true}, "103705474f534f430180003c2c1f8b08000000000000ffaa562ac9cf4ecd53b2524a4c4a56aa05000000ffff010000ffff72c6aed80f000000", []string{
			"624000010f636861742e4164644d6573736167652d1f8b08000000000000ffaa56ca4d2d2e4e4c4f55b252cac854aa05000000ffff010000ffff3394d6bd10000000",
			"6a4500030f636861742e4164644d6573736167652d1f8b08000000000000ffaa56ca4d2d2e4e4c4f55b252cac854aa05000000ffff010000ffff3394d6bd1000000004000102ff",
			"622fffff0f636861742e4164644d6573736167651c1f8b08000000000000ff000000ffff010000ffff0000000000000000",
		}},
		{"C++", mode{gzip: true}, "102605474f534f430180003c1b1f8b0800000000000003ab562a51b232ac05005db41bfe07000000", []string{
			"621d000103612e62161f8b0800000000000003abae050043bfa6a302000000",
			"6a2500010b636861742e55706c6f6164161f8b0800000000000003abae050043bfa6a302000000",
		}},
		{"B, plain", mode{fixed6: true}, "010000001c000005474f534f430100003c000f7b22746f6b656e223a22616263227d", []string{
			"0600000025020001000f636861742e4164644d65737361676500107b226d657373616765223a226869227d",
			"060000002b0a0102000f636861742e4164644d65737361676500107b226d657373616765223a226869227d0004000102ff",
			"060000001502ffff000f636861742e4164644d6573736167650000",
		}},
		{"B, gzip", mode{fixed6: true, gzip: true}, "0100000039000005474f534f430180003c002c1f8b08000000000000ffaa562ac9cf4ecd53b2524a4c4a56aa05000000ffff010000ffff72c6aed80f000000", []string{
			"0600000042020001000f636861742e4164644d657373616765002d1f8b08000000000000ffaa56ca4d2d2e4e4c4f55b252cac854aa05000000ffff010000ffff3394d6bd10000000",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := p.dial(t, tt.mode)
			c.write(unhex(tt.connect))
			c.wantConnAck(accepted)
			for _, request := range tt.request {
				c.write(unhex(request))
				checkError(t, c.wantMessage(sendResp).payload, noRoute)
			}
			c.write(tt.mode.ping())
			c.wantPong()
		})
	}
}
