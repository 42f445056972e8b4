package bench_test

import (
	"context"
	"fmt"
	"time"

	"github.com/sluicenet/sluice/bench"
	"github.com/sluicenet/sluice/bench/expect"
)

func ExampleRun() {
	result, err := bench.Run(context.Background(), bench.Config{
		Scenario:    "fanout",
		Target:      "tcp://127.0.0.1:7000",
		Connections: 1000,
		Rate:        150,
		Warmup:      time.Second,
	}, bench.Observer{
		Second: func(s bench.Second) { fmt.Println(s.At, s.Rate, s.Latency.P99) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	conditions, _ := expect.Parse("p99<20ms,lost=0", bench.MetricKind)
	fmt.Println(result.Check(conditions), result.Accounting)
}
