package cluster

import (
	"encoding/hex"
	"errors"
	"testing"
)

// TestSeal: what was changed on its way, or is not whole, is not believed.
func TestSeal(t *testing.T) {
	frame := append(appendHeader(nil, KindBarrier, origin{7, 0x0102030405060708}), "body"...)
	sealed := seal(append([]byte(nil), frame...))
	want := "530103070102030405060708" + "626f6479" + "ba99b864"
	if got := hex.EncodeToString(sealed); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, err := unseal(sealed); err != nil || string(got) != string(frame) {
		t.Errorf("%x, %v", got, err)
	}
	for n := range sealed {
		if _, err := unseal(sealed[:n]); err == nil {
			t.Errorf("%d bytes of it are believed", n)
		}
	}
	for i := range 8 * len(sealed) {
		sealed[i/8] ^= 1 << (i % 8)
		_, err := unseal(sealed)
		wanted := errSum
		switch i / 8 {
		case 0:
			wanted = errForeign
		case 1:
			wanted = errVersion
		}
		if !errors.Is(err, wanted) {
			t.Errorf("bit %d: %v, want %v", i, err, wanted)
		}
		sealed[i/8] ^= 1 << (i % 8)
	}
}
