package dev

import (
	"encoding/json"
	"strings"
	"testing"
)

var values = []string{
	`null`, `true`, `false`, ` "" `, `"a"`, `0`, `-0`, `-1.5e+30`, `1E9`, `12e-1`, `{}`, `[]`, `[[],{}]`,
	`{"a":1,"b":[true,null,{"c":"d"}]}`, "\t[\r\n1 , 2 ]\n", `{"":""}`, `"\u00e9\n\"\\\/"`, `"` + strings.Repeat("long ", 40) + `"`,
	`"1234567\"890"`, `"éééééééé"`, `[{"a":[{"b":[{}]}]}]`, "\"\x7f\xff\"",
	strings.Repeat("[", 300) + strings.Repeat("]", 300), strings.Repeat(`{"a":[`, 200) + strings.Repeat(`]}`, 200),
	strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth),
}

var nonsense = []string{
	``, ` `, `nul`, `nulll`, `tru`, `fals`, `+1`, `01`, `-`, `.5`, `1.`, `1e`, `1e+`, `1.e2`, `--1`, `0x1`, `{`, `}`, `[`, `]`, `{]`, `[}`,
	`[1,]`, `[,1]`, `{,}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{"a" 1}`, `{1:2}`, `1 2`, `{}{}`, `"`, `"a`, `"\x"`, `"\u12"`, `"\u12g4"`, `"\`,
	"\"1234567\n\"", "\"\x00\"", "\"\x1f\"", `"12345678\`, `[1 2]`, `[1}`, `{"a":1]`, `,`, `:`, `"a":1`, "\u00a01", "\xef\xbb\xbf1",
	`{"a":[}]`, `[{]}`, strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1), strings.Repeat("[", 100_000),
}

func TestValid(t *testing.T) {
	for _, v := range values {
		if !valid([]byte(v)) {
			t.Errorf("%.60q is refused", v)
		}
		for i := range v[:min(len(v), 300)] {
			if got, want := valid([]byte(v[:i])), json.Valid([]byte(v[:i])); got != want {
				t.Errorf("%.60q, its first %d bytes: %v", v, i, got)
			}
		}
	}
	for _, v := range nonsense {
		if valid([]byte(v)) {
			t.Errorf("%.60q is accepted", v)
		}
	}
}

// Each byte value at each place of a string.
func TestValidLooksAtEachByte(t *testing.T) {
	for n := range 20 {
		for i := range n {
			for c := range 256 {
				b := []byte(`"` + strings.Repeat("x", n) + `"`)
				b[i+1] = byte(c)
				if got, want := valid(b), json.Valid(b); got != want {
					t.Errorf("%q: %v", b, got)
				}
			}
		}
	}
}

func TestValidAllocatesNothing(t *testing.T) {
	b := []byte(`{"topic":"room.1","data":[[{"text":"hello"}]]}`)
	if n := testing.AllocsPerRun(100, func() { valid(b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzValid(f *testing.F) {
	for _, v := range append(values, nonsense...) {
		f.Add([]byte(v))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, want := valid(b), json.Valid(b); got != want {
			t.Fatalf("%.200q: %v, encoding/json says %v", b, got, want)
		}
	})
}

func BenchmarkValid(b *testing.B) {
	for name, v := range map[string]string{
		"text":    `"` + strings.Repeat("a", 98) + `"`,
		"objects": `{"id":12345,"who":"someone","tags":["a","b","c"],"at":{"x":1.25,"y":-7.5},"ok":true}`,
	} {
		p := []byte(v)
		for by, is := range map[string]func([]byte) bool{"ours": valid, "encoding/json": json.Valid} {
			b.Run(name+"/"+by, func(b *testing.B) {
				b.SetBytes(int64(len(p)))
				b.ReportAllocs()
				for b.Loop() {
					if !is(p) {
						b.Fatal("refused")
					}
				}
			})
		}
	}
}
