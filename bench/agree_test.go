package bench

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestAgreements(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		skew int64
		hold bool
	}{"the same": {0, true}, "one off": {1, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			pages := int64(0)
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(w, "sluice_deliveries_total %d\nother_total 5\n", 1000+g.delivered.Load()+pages*tt.skew)
				pages = 1
			}))
			defer srv.Close()
			c := quick(g, "fanout")
			c.Rate, c.Admin = 200, srv.URL+"/"
			r := mustRun(t, c)
			if len(r.Agreements) != 1 || r.Agreements[0].Holds() != tt.hold || r.Agreements[0].Ours != float64(r.Accounting.Sent) {
				t.Errorf("%+v", r.Agreements)
			}
			if _, ok := r.Gateway["other_total"]; ok {
				t.Error("a counter that stands still is reported as grown")
			}
		})
	}
}
