package server

import (
	"github.com/sluicenet/sluice/engine/internal/admin"
	"github.com/sluicenet/sluice/engine/internal/client/gosoc"
	"github.com/sluicenet/sluice/engine/internal/client/longbridge"
	"github.com/sluicenet/sluice/engine/internal/client/netsvr"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/internal/link"
)

// What programs that embed the gateway need of the packages beneath.
type (
	// A GatewayConfig is about logins, sessions and requests.
	GatewayConfig = gateway.Config
	// A Gateway decides who connections are and who serves them.
	Gateway = gateway.Gateway
	// A Request is what a client asks of a handler.
	Request = gateway.Request
	// A Ticket names a request that is answered later.
	Ticket = gateway.Ticket

	// A WorkersConfig is about the links of workers.
	WorkersConfig = link.Config
	// A Limit bounds the messages per second to some workers, which share it.
	Limit = link.Limit
	// A Hub holds the links of workers.
	Hub = link.Hub

	// A GosocConfig is about GOSOC's clients.
	GosocConfig = gosoc.Config
	// A NetsvrConfig is about netsvr's WebSocket customers.
	NetsvrConfig = netsvr.Config
	// A LongbridgeConfig is about Longbridge's clients.
	LongbridgeConfig = longbridge.Config
	// An AdminConfig is about the listener for operators.
	AdminConfig = admin.Config
)

// What the gateway and handlers say of a request; see Request.Fail.
const (
	StatusOK       = gateway.StatusOK
	StatusTimeout  = gateway.StatusTimeout
	StatusError    = gateway.StatusError
	StatusInternal = gateway.StatusInternal
)

// ParseLimit reads NAME=IDS@RATE, where IDS are worker ids and ranges of them: two-five=2-5@100000.
func ParseLimit(text string) (Limit, error) { return link.ParseLimit(text) }

// ParseMetrics reads a list of netsvr metric numbers: "0-6", "none", or "0,3,5-6".
func ParseMetrics(text string) ([]int32, error) { return link.ParseMetrics(text) }
