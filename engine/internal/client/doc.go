// Package client is the house of the protocols that clients speak: gosoc, longbridge, netsvr, and
// websocket, which carries them. It holds the tests of what all of them promise.
//
// # Accounts
//
// What a protocol keeps of a connection's bytes is charged to the connection (engine.Conn.Charge) by
// the capacity it takes, and is given back at the latest in OnClose: messages in fragments, what
// waits of a message or of an upgrade request. Half packets are kept by the engine. Inflated bytes
// lie in the loop's scratch, and no protocol has a window of compression per connection.
//
// # Time
//
// A packet whose beginning has come must go on coming (gateway.PacketTimer), whatever the protocol's
// own keep-alive is.
//
// # Pushes and the rest
//
// Replies, acknowledgements, pongs and what is said at the end are written with engine.Conn.Buffer
// and Commit; a slow-consumer policy drops only what comes through engine.Conn.Deliver, Publish and
// the like.
package client
