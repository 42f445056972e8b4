package main

import (
	"fmt"
	"time"

	"github.com/sluicenet/sluice/cmd/sluice/internal/table"
)

// A closedInfo is an end as the API lists it.
type closedInfo struct {
	Time     time.Time `json:"time"`
	Reason   string    `json:"reason"`
	Refused  bool      `json:"refused"`
	UniqID   string    `json:"uniqId"`
	User     string    `json:"user"`
	Protocol string    `json:"protocol"`
	Peer     string    `json:"peer"`
	Seconds  float64   `json:"seconds"`
	BytesIn  uint64    `json:"bytesIn"`
	BytesOut uint64    `json:"bytesOut"`
}

func (v *closedInfo) lasted() string {
	if v.Refused {
		return "refused"
	}
	return table.Seconds(v.Seconds)
}

func (v *closedInfo) key() string {
	return fmt.Sprintf("%d %s %s", v.Time.UnixNano(), v.Peer, v.UniqID)
}

func (v *closedInfo) when() string { return v.Time.Local().Format("15:04:05") }
