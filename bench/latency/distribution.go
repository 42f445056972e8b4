package latency

import (
	"fmt"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A Distribution is a histogram in a result: its usual numbers, in nanoseconds, and itself.
type Distribution struct {
	Count int64   `json:"count"`
	Min   int64   `json:"min_ns"`
	Mean  float64 `json:"mean_ns"`
	P50   int64   `json:"p50_ns"`
	P90   int64   `json:"p90_ns"`
	P99   int64   `json:"p99_ns"`
	P999  int64   `json:"p99.9_ns"`
	P9999 int64   `json:"p99.99_ns"`
	Max   int64   `json:"max_ns"`

	// Histogram is the whole of it, in HdrHistogram's compressed form, base64.
	Histogram string `json:"histogram,omitempty"`
}

// Summarize describes h, without keeping it; nil is no values.
func Summarize(h *hdrhistogram.Histogram) Distribution {
	if h == nil || h.TotalCount() == 0 {
		return Distribution{}
	}
	p := h.ValueAtPercentilesSlice([]float64{50, 90, 99, 99.9, 99.99})
	return Distribution{
		Count: h.TotalCount(), Min: h.Min(), Mean: h.Mean(), Max: h.Max(),
		P50: p[0], P90: p[1], P99: p[2], P999: p[3], P9999: p[4],
	}
}

// Pack is h as text, empty for none.
func Pack(h *hdrhistogram.Histogram) string {
	if h == nil || h.TotalCount() == 0 {
		return ""
	}
	b, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return "" // our own geometry can always be encoded
	}
	return string(b)
}

// Unpack reads what Pack wrote; the empty text is nil.
func Unpack(s string) (*hdrhistogram.Histogram, error) {
	if s == "" {
		return nil, nil
	}
	h, err := hdrhistogram.Decode([]byte(s))
	if err != nil {
		return nil, fmt.Errorf("latency: histogram: %w", err)
	}
	return h, nil
}

// Merge adds from to *into; both may be nil.
func Merge(into **hdrhistogram.Histogram, from *hdrhistogram.Histogram) {
	switch {
	case from == nil:
	case *into == nil:
		*into = New()
		fallthrough
	default:
		(*into).Merge(from)
	}
}
