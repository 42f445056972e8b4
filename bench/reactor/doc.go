// Package reactor is the client side of very many TCP connections: a loop without a goroutine, a
// buffer or an allocation per connection or message. It waits with epoll(7) on Linux and with
// poll(2) elsewhere, or where the build tag portable is set.
//
// # Data flow
//
//	kernel -> one read into the loop's buffer, behind what the socket had left over -> Handler.Readable
//	Socket.Send -> the socket's out -> one write after the event or the tick
//
// The loop reads at most once per event, so that a fast sender starves nobody: both ways of
// waiting are level-triggered and will say so again.
//
// With TLS (DialTLS) a socket's records are decrypted before Readable and encrypted behind Send, on the
// loop; its handshake runs on a goroutine.
//
// # Ownership
//
// The bytes given to Readable are the loop's until Readable returns; what it did not consume is copied.
// Send copies.
//
// # Goroutines
//
// One per Loop, the one that calls Run. Handler methods run on it, and Sockets belong to it.
// Everybody else comes in through Post.
package reactor
