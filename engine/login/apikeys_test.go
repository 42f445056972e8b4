package login

import (
	"strings"
	"testing"
)

func TestAPIKeys(t *testing.T) {
	t.Parallel()
	const text = "\ufeff# who may call\n\n k1\tann # hers\r\nk2 bob  s3cret\nk3 ann\n"
	file := write(t, "keys", text)
	k, err := NewAPIKeys(file)
	if err != nil || k.Len() != 3 {
		t.Fatal(err)
	}
	for key, want := range map[string]APIKey{"k1": {"ann", ""}, "k2": {"bob", "s3cret"}, "k3": {"ann", ""}} {
		if got, ok := k.Lookup(key); !ok || got != want {
			t.Errorf("%s: %v, %v", key, got, ok)
		}
	}
	for _, key := range []string{"", "k", "K1", "k1 ", "s3cret", "#", strings.Repeat("k", MaxAPIKeyLen+1)} {
		if got, ok := k.Lookup(key); ok {
			t.Errorf("%q is %v's", key, got)
		}
	}
	for _, c := range []struct{ text, want string }{
		{"", "no keys"}, {"# nothing\n", "no keys"}, {"secret-key\n", "line 1: 1 fields"},
		{"a b c d\n", "line 1: 4 fields"}, {"ok ann\na b\na c\n", "line 3: same key as line 2"},
		{"a \x01b\n", "line 1"}, {"kéy ann\n", "line 1"},
		{strings.Repeat("k", MaxAPIKeyLen+1) + " ann", "line 1: key or secret longer"},
		{"k ann " + strings.Repeat("s", MaxAPIKeyLen+1), "line 1: key or secret longer"},
		{"k " + strings.Repeat("u", MaxUserLen+1), "line 1"},
	} {
		rewrite(t, file, c.text)
		err := k.Reload()
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "secret-key") {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
		if got, ok := k.Lookup("k1"); !ok || got.User != "ann" {
			t.Errorf("%q: the old keys are gone", c.text)
		}
	}
	rewrite(t, file, "k9 cid\n")
	if err := k.Reload(); err != nil || k.Len() != 1 || k.File() != file {
		t.Error(err)
	}
	if _, ok := k.Lookup("k1"); ok {
		t.Error("an old key is good")
	}
	other, err := NewAPIKeys(write(t, "other", "z dan"))
	if err != nil {
		t.Fatal(err)
	}
	k.Replace(other)
	if got, _ := k.Lookup("z"); got.User != "dan" {
		t.Errorf("replaced: %v", got)
	}
}
