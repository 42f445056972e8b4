package engine

// A Reason says why a connection was closed. Each protocol maps it to its own goodbye, the
// counters and the log carry its name.
type Reason uint8

// The reasons, grouped by whose doing they are.
const (
	// The peer's doing, nothing wrong with it.
	ReasonPeerClosed  Reason = iota // end of stream, or a reset
	ReasonClientClose               // the protocol's own goodbye

	// The peer's fault.
	ReasonNotTLS          // the first bytes do not begin TLS, which the listener wants
	ReasonTLSNotServed    // they do, and the listener is plain
	ReasonTLSHandshake    // a TLS handshake that one side has refused
	ReasonTLSTimeout      // a TLS handshake that took too long
	ReasonTLSError        // a TLS record that is not allowed, or not authentic
	ReasonTLSFlood        // too many TLS records without data: new keys, or empty ones
	ReasonUnknownProtocol // the first bytes belong to no protocol of the listener
	ReasonMalformed       // bytes that the protocol does not allow
	ReasonOutOfOrder      // a packet that is legal, but not now: before login, or from the wrong side
	ReasonTooLarge        // a packet above the limit, refused on its header
	ReasonInflatedTooLarge
	ReasonGzipMembers    // a body of too many gzip members
	ReasonUpgradeRefused // an HTTP request that is no WebSocket upgrade, or not allowed
	ReasonLoginTimeout
	ReasonLoginRefused
	ReasonLoginBanned      // too many refused logins from the address
	ReasonHeartbeatTimeout // nothing heard for as long as the protocol allows
	ReasonPacketTimeout    // the rest of a packet did not come, or too slowly
	ReasonInputBacklog     // sent more than the gateway may hold back for it
	ReasonSlowConsumer     // does not read what it asked for
	ReasonWriteError
	ReasonProxyUntrusted // a connection to a listener of trusted proxies from anybody else
	ReasonProxyHeader    // the PROXY header is malformed, or there is none
	ReasonProxyTimeout   // or it did not come in time

	// Replaced by another connection.
	ReasonKickedOut        // the user logged in elsewhere
	ReasonSessionTakenOver // the session was resumed elsewhere
	ReasonForcedOffline    // a worker's command
	ReasonUserLimit        // more connections than one user may have
	ReasonLoginExpired     // the login was good until now
	ReasonLoginRevoked     // the login was taken back
	ReasonDisconnected     // an operator ended the connection; its session can be resumed

	// The gateway's doing.
	ReasonShutdown
	ReasonServerError
	ReasonBacklogTotal   // shed: the gateway as a whole keeps too many bytes
	ReasonTooManyClients // over the connection limit
	ReasonAddressLimit   // more connections than one address may have
	ReasonAddressRate    // more new connections a second than one address may make
	ReasonConnectRate    // more new connections a second than there may be in all
	ReasonMemory         // the memory budget is nearly used up
	ReasonNoWorker       // no worker to serve the connection
	ReasonServerIDLost   // another process of the cluster has the gateway's server id

	numReasons
)

var reasonNames = [numReasons]string{
	ReasonPeerClosed:       "peer-closed",
	ReasonClientClose:      "client-close",
	ReasonNotTLS:           "not-tls",
	ReasonTLSNotServed:     "tls-not-served",
	ReasonTLSHandshake:     "tls-handshake",
	ReasonTLSTimeout:       "tls-timeout",
	ReasonTLSError:         "tls-error",
	ReasonTLSFlood:         "tls-flood",
	ReasonUnknownProtocol:  "unknown-protocol",
	ReasonMalformed:        "malformed",
	ReasonOutOfOrder:       "out-of-order",
	ReasonTooLarge:         "too-large",
	ReasonInflatedTooLarge: "inflated-too-large",
	ReasonGzipMembers:      "gzip-members",
	ReasonUpgradeRefused:   "upgrade-refused",
	ReasonLoginTimeout:     "login-timeout",
	ReasonLoginRefused:     "login-refused",
	ReasonLoginBanned:      "login-banned",
	ReasonHeartbeatTimeout: "heartbeat-timeout",
	ReasonPacketTimeout:    "packet-timeout",
	ReasonInputBacklog:     "input-backlog",
	ReasonSlowConsumer:     "slow-consumer",
	ReasonWriteError:       "write-error",
	ReasonProxyUntrusted:   "proxy-untrusted",
	ReasonProxyHeader:      "proxy-header",
	ReasonProxyTimeout:     "proxy-timeout",
	ReasonKickedOut:        "kicked-out",
	ReasonSessionTakenOver: "session-taken-over",
	ReasonForcedOffline:    "forced-offline",
	ReasonUserLimit:        "user-limit",
	ReasonLoginExpired:     "login-expired",
	ReasonLoginRevoked:     "login-revoked",
	ReasonDisconnected:     "disconnected",
	ReasonShutdown:         "shutdown",
	ReasonServerError:      "server-error",
	ReasonBacklogTotal:     "backlog-total",
	ReasonTooManyClients:   "too-many-clients",
	ReasonAddressLimit:     "address-limit",
	ReasonAddressRate:      "address-connect-rate",
	ReasonConnectRate:      "connect-rate",
	ReasonMemory:           "memory",
	ReasonNoWorker:         "no-worker",
	ReasonServerIDLost:     "server-id-lost",
}

// String returns the name used in counters and logs.
func (r Reason) String() string {
	if r < numReasons {
		return reasonNames[r]
	}
	return "unknown"
}

// Reasons lists every Reason, for reports.
func Reasons() []Reason {
	all := make([]Reason, numReasons)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}

// A Drop says why a message did not reach a connection or a topic.
type Drop uint8

// The drops.
const (
	DropSlowConsumer Drop = iota // a slow consumer's policy: the newest or the oldest went
	DropNotConnected             // addressed to a connection that is gone or not logged in
	DropTooLong                  // the connection's wire form cannot express a message so long
	DropMailboxFull              // a loop did not take a publish in time
	DropClosing                  // was queued for a connection when it closed
	DropCommand                  // the connection's wire form does not let a push have its command
	DropHistoryAway              // of a topic with history, published while Config.Log could take nothing

	numDrops
)

var dropNames = [numDrops]string{
	DropSlowConsumer: "slow-consumer",
	DropNotConnected: "not-connected",
	DropTooLong:      "too-long",
	DropMailboxFull:  "mailbox-full",
	DropClosing:      "closing",
	DropCommand:      "command",
	DropHistoryAway:  "history-away",
}

// String returns the name used in counters and logs.
func (d Drop) String() string {
	if d < numDrops {
		return dropNames[d]
	}
	return "unknown"
}

// Drops lists every Drop, for reports.
func Drops() []Drop {
	all := make([]Drop, numDrops)
	for i := range all {
		all[i] = Drop(i)
	}
	return all
}
