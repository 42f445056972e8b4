package websocket

import "testing"

func TestNegotiateDeflate(t *testing.T) {
	yes, no := DeflateParams{Accepted: true}, DeflateParams{}
	bits := DeflateParams{Accepted: true, ServerMaxWindowBits: true}
	for _, v := range []struct {
		header string
		want   DeflateParams
		err    error
	}{
		{"", no, nil},
		{"permessage-deflate", yes, nil},
		{"permessage-deflate; client_max_window_bits", yes, nil}, // Chrome, Firefox
		{"permessage-deflate;client_max_window_bits=10;server_no_context_takeover", yes, nil},
		{"permessage-deflate; client_no_context_takeover; server_no_context_takeover", yes, nil},
		{"permessage-deflate; server_max_window_bits=15", bits, nil},
		{"permessage-deflate; server_max_window_bits=\"15\"", bits, nil},
		{"permessage-deflate; server_max_window_bits=\"1\\5\"", bits, nil},
		{"permessage-deflate ;\tserver_max_window_bits = 15 ", bits, nil},
		{"x-webkit-deflate-frame, permessage-deflate", yes, nil},
		{"foo; a=\"b\"; c, permessage-deflate; client_max_window_bits, bar", yes, nil},
		{", permessage-deflate,,", yes, nil},

		// Alternatives: the first that can be honoured.
		{"permessage-deflate; server_max_window_bits=10, permessage-deflate", yes, nil},
		{"permessage-deflate; server_max_window_bits=10, permessage-deflate; server_max_window_bits=15, permessage-deflate", bits, nil},
		{"permessage-deflate; unknown, permessage-deflate; client_max_window_bits", yes, nil},

		// Offers that must be declined.
		{"permessage-deflate; server_max_window_bits=14", no, nil},
		{"permessage-deflate; server_max_window_bits=8", no, nil},
		{"permessage-deflate; server_max_window_bits=7", no, nil},
		{"permessage-deflate; server_max_window_bits=16", no, nil},
		{"permessage-deflate; server_max_window_bits=015", no, nil},
		{"permessage-deflate; server_max_window_bits=1x", no, nil},
		{"permessage-deflate; server_max_window_bits", no, nil},
		{"permessage-deflate; server_max_window_bits=15; server_max_window_bits=15", no, nil},
		{"permessage-deflate; client_max_window_bits=7", no, nil},
		{"permessage-deflate; client_max_window_bits=16", no, nil},
		{"permessage-deflate; client_max_window_bits; client_max_window_bits", no, nil},
		{"permessage-deflate; client_max_window_bits=08", no, nil},
		{"permessage-deflate; client_max_window_bits=1.", no, nil},
		{"permessage-deflate; client_max_window_bits=1a", no, nil},
		{"permessage-deflate; client_max_window_bits=8", yes, nil},
		{"permessage-deflate; client_no_context_takeover=true", no, nil},
		{"permessage-deflate; server_no_context_takeover; server_no_context_takeover", no, nil},
		{"permessage-deflate; unknown", no, nil},
		{"permessage-deflate; unknown=15", no, nil},
		{"permessage-bzip2", no, nil},
		{"permessage-deflatex", no, nil},

		// Not of the grammar.
		{"permessage-deflate foo", no, ErrExtensions},
		{"permessage-deflate;", no, ErrExtensions},
		{"permessage-deflate;;a", no, ErrExtensions},
		{"permessage-deflate; a=", no, ErrExtensions},
		{"permessage-deflate; a=b=c", no, ErrExtensions},
		{"permessage-deflate; =b", no, ErrExtensions},
		{"permessage-deflate; a=\"b", no, ErrExtensions},
		{"permessage-deflate; a=\"b c\"", no, ErrExtensions},
		{"permessage-deflate; a=\"\"", no, ErrExtensions},
		{"permessage-deflate; a=\"b\\\"", no, ErrExtensions},
		{"permessage-deflate; a=\"b\"c", no, ErrExtensions},
		{"; a", no, ErrExtensions},
		{"\"permessage-deflate\"", no, ErrExtensions},
		{"permessage-deflate, foo bar", no, ErrExtensions},
		{"(comment) permessage-deflate", no, ErrExtensions},
	} {
		if got, err := NegotiateDeflate([]byte(v.header)); got != v.want || err != v.err {
			t.Errorf("%q: %+v, %v, want %+v, %v", v.header, got, err, v.want, v.err)
		}
	}
}

func TestAcceptedDeflate(t *testing.T) {
	for _, v := range []struct {
		header string
		want   bool
		err    error
	}{
		{"", false, nil},
		{DeflateOffer, true, nil},
		{"permessage-deflate; server_no_context_takeover", true, nil},
		{"permessage-deflate; server_no_context_takeover; server_max_window_bits=10", true, nil},
		{"permessage-deflate", false, ErrExtensions}, // the server would keep its context
		{"permessage-deflate; server_no_context_takeover; client_max_window_bits=10", false, ErrExtensions},
		{DeflateOffer + ", " + DeflateOffer, false, ErrExtensions},
		{DeflateOffer + ", other", false, ErrExtensions},
		{DeflateOffer + "; unknown", false, ErrExtensions},
		{DeflateOffer + " x", false, ErrExtensions},
		{"other", false, ErrExtensions},
		{"=", false, ErrExtensions},
	} {
		if got, err := AcceptedDeflate([]byte(v.header)); got != v.want || err != v.err {
			t.Errorf("%q: %v, %v", v.header, got, err)
		}
	}
}

// FuzzNegotiateDeflate looks for panics and endless loops, and for an answer that our own client
// would refuse.
func FuzzNegotiateDeflate(f *testing.F) {
	for _, s := range []string{DeflateOffer, "a; b=\"c\\\\\", d", "permessage-deflate; server_max_window_bits=15", ",;=\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, header []byte) {
		p, err := NegotiateDeflate(header)
		if err != nil && p != (DeflateParams{}) {
			t.Fatalf("%+v with %v", p, err)
		}
		if p.Accepted {
			if ok, err := AcceptedDeflate(p.append(nil)); !ok || err != nil {
				t.Fatalf("%+v: our answer is refused: %v", p, err)
			}
		}
		AcceptedDeflate(header)
	})
}
