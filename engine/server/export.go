package server

import (
	"github.com/sluicenet/sluice/engine/internal/admin"
	"github.com/sluicenet/sluice/engine/internal/client/gosoc"
	"github.com/sluicenet/sluice/engine/internal/client/longbridge"
	"github.com/sluicenet/sluice/engine/internal/client/netsvr"
	ws "github.com/sluicenet/sluice/engine/internal/client/websocket"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/internal/link"
)

// What handlers and programs that embed the gateway need of the packages beneath, whose
// documentation has the fields and methods: go doc ./engine/internal/gateway Request.
type (
	// A GatewayConfig is about logins, sessions and requests. Login must be set; all else has
	// defaults.
	GatewayConfig = gateway.Config
	// A Gateway decides who connections are and who serves them. Programs call its Route, Answer
	// and Fail, and read its Stats; the rest is for protocols, on the loop of the connection.
	Gateway = gateway.Gateway
	// GatewayStats are a Gateway's counters.
	GatewayStats = gateway.Stats
	// A Request is what a client asks of a handler: Route or Cmd, Payload and Data, with User,
	// UniqID and Protocol for who asks. It is answered once, with Reply, ReplyStatus or Fail, or
	// later with Defer; Subscribe, Unsubscribe, Publish and Push are about topics and the client
	// itself. It and its slices are valid until the handler returns.
	Request = gateway.Request
	// A NameError says why a topic's name or a uniqId is not taken; see Request.TrySubscribe.
	NameError = gateway.NameError
	// An Ignored says why a packet of a client is ignored; see Gateway.Ignore.
	Ignored = gateway.Ignored
	// A Ticket names a request that is answered later, with Gateway.Answer or Fail, from any
	// goroutine.
	Ticket = gateway.Ticket
	// An Owner is who was given a request; see Request.DeferTo.
	Owner = gateway.Owner
	// A Handler answers requests on the loop of their connection.
	Handler = gateway.Handler
	// HandlerFunc makes a function a Handler.
	HandlerFunc = gateway.HandlerFunc
	// A WorkerRoute sends requests to the workers of an id; see Gateway.SetRoutes.
	WorkerRoute = gateway.WorkerRoute
	// A HistoryQuery says which of a topic's kept messages are wanted; see Gateway.History.
	HistoryQuery = gateway.HistoryQuery
	// A History is what a topic has kept, as far as it was asked for.
	History = gateway.History
	// A Kept is a message of a History.
	Kept = gateway.Kept
	// A Tracer records spans; see GatewayConfig.Tracer.
	Tracer = gateway.Tracer
	// A Span is the gateway's part of a login or a request.
	Span = gateway.Span
	// A SpanKind says what a Span is of.
	SpanKind = gateway.SpanKind
	// Events hears of clients that come and go; see Config.OnConnect for the simple way.
	Events = gateway.Events
	// Scratch is a loop's memory for inflated and deflated bytes; see Gateway.Scratch.
	Scratch = gateway.Scratch

	// A WorkersConfig is about the links of workers.
	WorkersConfig = link.Config
	// A Limit bounds the messages per second to some workers, which share it.
	Limit = link.Limit
	// A Hub holds the links of workers.
	Hub = link.Hub
	// A WorkersTrust says whom a Hub believes to be a worker; see Hub.SetTrust.
	WorkersTrust = link.Trust
	// WorkersStats are a Hub's counters.
	WorkersStats = link.Stats
	// A WorkerLink says what is known of a worker's connection; see Hub.Links.
	WorkerLink = link.LinkInfo
	// A Latency says how long requests waited for their answers.
	Latency = gateway.Latency
	// A Delivery says what became of a message for a worker.
	Delivery = link.Delivery

	// A WebSocketConfig is about WebSocket, whatever is spoken over it.
	WebSocketConfig = ws.Config
	// WebSocketStats are the counters of compression over WebSocket.
	WebSocketStats = ws.Stats
	// A GosocConfig is about GOSOC's clients.
	GosocConfig = gosoc.Config
	// A NetsvrConfig is about netsvr's WebSocket customers.
	NetsvrConfig = netsvr.Config
	// A LongbridgeConfig is about Longbridge's clients.
	LongbridgeConfig = longbridge.Config
	// An AdminConfig is about the listener for operators.
	AdminConfig = admin.Config
	// AdminTokens are the tokens of operators; see AdminConfig.Tokens.
	AdminTokens = admin.Tokens
	// An AdminProcess is what operators may do with the program; see AdminConfig.Process.
	AdminProcess = admin.Process
	// An AdminReloaded says what became of a reload that an operator asked for.
	AdminReloaded = admin.Reloaded
)

// What a Protocol of one's own needs whose clients log in and ask; docs/embedding.md has one.
type (
	// A Session is a protocol's state of one connection, as the gateway sees it: an engine.Handler
	// that says verdicts on logins (LoginDone) and answers (Answer, Failure) in its protocol's
	// words.
	Session = gateway.Session
	// A Client is what the gateway knows of one connection: User, Session, Claim, and whether it is
	// Fresh, Waiting or Online. A Session embeds it, and returns it from Base.
	Client = gateway.Client
	// Credentials are what a client shows to log in, to Gateway.Login.
	Credentials = gateway.Credentials
	// A PacketTimer has half packets time out: one for each connection, for Gateway.Received,
	// PacketLeft and PacketLate. Its zero value is ready for use.
	PacketTimer = gateway.PacketTimer
	// An Outcome says how a login ended.
	Outcome = gateway.Outcome
	// UpgradeInfo is a Session that knows what an upgrade request said.
	UpgradeInfo = link.UpgradeInfo
)

// What the gateway and handlers say of a request; see Request.Fail.
const (
	StatusOK       = gateway.StatusOK
	StatusTimeout  = gateway.StatusTimeout
	StatusError    = gateway.StatusError
	StatusInternal = gateway.StatusInternal
)

// The outcomes of a login.
const (
	LoginOK          = gateway.LoginOK
	LoginRefused     = gateway.LoginRefused
	LoginMalformed   = gateway.LoginMalformed
	LoginUnavailable = gateway.LoginUnavailable
	LoginConcurrent  = gateway.LoginConcurrent
	LoginOverLimit   = gateway.LoginOverLimit
	LoginMetadata    = gateway.LoginMetadata
	SessionRefused   = gateway.SessionRefused
	LoginBanned      = gateway.LoginBanned
)

// The kinds of spans.
const (
	SpanLogin   = gateway.SpanLogin
	SpanRequest = gateway.SpanRequest
)

// What Hub.Transfer says of a message for a worker.
const (
	Delivered = link.Delivered
	NoWorker  = link.NoWorker
	QueueFull = link.QueueFull
	Limited   = link.Limited
)

// The worker ids: requests that no route names go to DefaultWorker.
const (
	DefaultWorker = gateway.DefaultWorker
	MaxWorker     = gateway.MaxWorker
)

// NewAdminTokens reads a file of operators' tokens: lines "read TOKEN" or "full TOKEN". The error names
// the file and the line.
func NewAdminTokens(file string) (*AdminTokens, error) { return admin.NewTokens(file) }

// CheckRoutes says what Gateway.SetRoutes would: ignoreCase is GatewayConfig.RouteIgnoreCase.
func CheckRoutes(list []WorkerRoute, ignoreCase bool) error {
	return gateway.CheckRoutes(list, ignoreCase)
}

// ParseLimit reads NAME=IDS@RATE, where IDS are worker ids and ranges of them: two-five=2-5@100000.
func ParseLimit(text string) (Limit, error) { return link.ParseLimit(text) }

// ParseMetrics reads a list of netsvr metric numbers: "0-6", "none", or "0,3,5-6".
func ParseMetrics(text string) ([]int32, error) { return link.ParseMetrics(text) }

// CheckSessionJournal says what would keep a file from being a GatewayConfig.SessionJournal: it is
// something else, or cannot be written. It changes nothing, and a file that does not exist is no
// error. New asks it, too.
func CheckSessionJournal(name string) error { return gateway.CheckJournal(name) }
