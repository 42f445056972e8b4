package engine

import (
	"io"
	"testing"
)

// What a connection has published before it ends is in front of its final words.
func TestPublishesComeBeforeFinalWords(t *testing.T) {
	t.Parallel()
	_, addr, _ := startKeeper(t, Config{}, ListenConfig{}, "kept=10,1m")
	for _, topic := range []string{"plain", "kept"} {
		other := dialKeeper(t, addr, "SUB "+topic)
		other.want("SUBSCRIBED true")
		k := dialKeeper(t, addr, "NAME "+topic+"\nSUB "+topic+"\nPUB "+topic+" 1\nPUB "+topic+" 2\nCLOSE")
		k.want("RESUMED 0", "SUBSCRIBED true")
		if topic == "plain" { // what is kept comes when the session is resumed
			k.want("1", "2")
		}
		k.want("BYE forced-offline")
		if line, err := k.r.ReadString('\n'); err != io.EOF {
			t.Errorf("read %q, %v behind the final words", line, err)
		}
		other.want("1", "2")
	}
	k := dialKeeper(t, addr, "NAME kept")
	k.want("RESUMED 1", "1", "2")
}
