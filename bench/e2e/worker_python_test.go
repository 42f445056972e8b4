package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/internal/syncbuf"
)

// The worker that docs/workers.md has in Python answers requests and talks to customers, as it says.
func TestWorkerInPython(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not here")
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "workers.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, code, ok := strings.Cut(string(text), "```python\n")
	code, _, closed := strings.Cut(code, "```\n")
	p := startNetsvr(t)
	host, port, _ := strings.Cut(p.workerAddr(), ":")
	program := strings.Replace(code, `("127.0.0.1", 6061)`, `("`+host+`", `+port+`)`, 1)
	if !ok || !closed || program == code {
		t.Fatalf("the page has no program, or one that connects nowhere:\n%s", code)
	}
	output := new(syncbuf.Buffer)
	worker := exec.Command(python, "-c", program)
	worker.Stdout, worker.Stderr = output, output
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = worker.Process.Kill()
		_ = worker.Wait()
	})
	if !p.await(func() bool { return output.String() == "Success\n" }, "the worker to say that it is registered") {
		t.Fatal(output)
	}
	c := p.login(t, plainModes[0], token("ann"))
	for _, payload := range []string{`{"a":1}`, `"x"`, strings.Repeat("7", 100_000)} {
		c.wantAnswer("any.Route", payload, `{"status":0,"data":`+payload+`}`)
	}
	customer := p.netsvrOpen(t, "/netsvr")
	customer.say("001hello")
	customer.wantText("you said hello")
	customer.say("001")
	customer.wantText("you said ")
}
