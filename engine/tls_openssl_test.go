package engine

import (
	"bufio"
	"crypto/tls"
	"encoding/pem"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// openssl is an "openssl s_client" at work.
type openssl struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Scanner
}

func startOpenSSL(t *testing.T, addr string, args ...string) *openssl {
	t.Helper()
	program, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: testCertificate().Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, append([]string{"s_client", "-connect", addr, "-servername", "localhost", "-CAfile", ca}, args...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); w.Close(); close(done) }()
	t.Cleanup(func() {
		in.Close()
		go func() { _, _ = io.Copy(io.Discard, r) }()
		<-done
		timer.Stop()
	})
	return &openssl{t, in, bufio.NewScanner(r)}
}

func (o *openssl) say(line string) {
	o.t.Helper()
	if _, err := io.WriteString(o.in, line+"\n"); err != nil {
		o.t.Fatal(err)
	}
}

// hear reads until a line has what is wanted.
func (o *openssl) hear(want string) {
	o.t.Helper()
	var all []string
	for o.out.Scan() {
		if all = append(all, o.out.Text()); strings.Contains(o.out.Text(), want) {
			return
		}
	}
	o.t.Fatalf("no %q in:\n%s", want, strings.Join(all, "\n"))
}

func TestTLSOverOpenSSL(t *testing.T) {
	e, addr := startLine(t, Config{}, ListenConfig{TLS: serverTLS()})
	t.Run("1.3 and new keys", func(t *testing.T) {
		o := startOpenSSL(t, addr, "-tls1_3")
		o.hear("Verify return code: 0 (ok)")
		for range 3 {
			o.say("ECHO before")
			o.hear("before")
			o.say("K") // a KeyUpdate that asks for one
			o.hear("KEYUPDATE")
			o.say("ECHO behind")
			o.hear("behind")
			o.say("k")
			o.hear("KEYUPDATE")
		}
		o.say("ECHO end")
		o.hear("end")
		o.say("CLOSE")
		o.hear("BYE forced-offline")
		o.hear("closed")
	})
	t.Run("1.2 and renegotiation", func(t *testing.T) {
		o := startOpenSSL(t, addr, "-tls1_2")
		o.hear("Verify return code: 0 (ok)")
		o.say("ECHO before")
		o.hear("before")
		o.say("R")
		o.hear("alert unexpected message")
		waitFor(t, "the close", func() bool { return e.Stats().Closed[ReasonTLSError] == 1 })
	})
	t.Run("a downgrade", func(t *testing.T) {
		startOpenSSL(t, addr, "-tls1_2", "-fallback_scsv").hear("alert inappropriate fallback")
	})
	t.Run("1.1", func(t *testing.T) {
		startOpenSSL(t, addr, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0").hear("alert protocol version")
	})
	t.Run("small records", func(t *testing.T) {
		o := startOpenSSL(t, addr, "-max_send_frag", "512", "-split_send_frag", "512")
		o.say("ECHO " + strings.Repeat("x", 6000))
		o.hear(strings.Repeat("x", 6000))
	})
}

// curl hears what it did wrong, with TLS or without.
func TestTLSOverCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	_, addr := startLine(t, Config{}, ListenConfig{TLS: serverTLS()})
	out, err := exec.Command(curl, "-s", "-m", "10", "-i", "http://"+addr+"/").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "400 Bad Request") || !strings.Contains(string(out), "wss://") {
		t.Errorf("%v: %s", err, out)
	}
	for _, args := range [][]string{{"--tlsv1.2", "--tls-max", "1.2"}, {"--tlsv1.3"}} {
		args = append([]string{"-sk", "-m", "1", "-o", "-", "--http0.9"}, args...)
		out, _ := exec.Command(curl, append(args, "https://"+addr+"/")...).CombinedOutput()
		if len(out) > 0 { // the line protocol does not know GET, and does not answer
			t.Errorf("%q", out)
		}
	}
}

// Records of 16 KiB and of one byte, both ways, and the memory that they leave.
func TestTLSRecordSizes(t *testing.T) {
	tlsVersions(t, func(t *testing.T, version uint16) {
		_, addr := startLine(t, Config{}, ListenConfig{TLS: serverTLS()})
		config := clientTLS(version)
		config.DynamicRecordSizingDisabled = true
		c := dialTLS(t, addr, config)
		for _, size := range []int{1, 16384 - 6, 16384, 16385, 100_000, 1} {
			text := strings.Repeat("r", size)
			c.send("ECHO %s", text)
			c.expect(text)
		}
		if state := c.Conn.(*tls.Conn).ConnectionState(); state.Version != version {
			t.Errorf("version %x", state.Version)
		}
		if _, ok := c.tcp().RemoteAddr().(*net.TCPAddr); !ok {
			t.Error("no TCP")
		}
	})
}
