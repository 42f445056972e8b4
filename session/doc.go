// Package session knows who a connection is: its public name, the user behind it, and the secret
// with which a client that lost its connection proves to be the same one again.
//
// # Data flow
//
//	accept  -> Generator.Next -> Directory.PutKey          uniqId -> connection
//	login   -> OneTime.Take, Users.Claim/Commit, Counts    user -> connection, and how many of them
//	        -> Members.Add                                 user -> connections, where there may be several
//	        -> Store.Begin                                 only for clients that want to resume later
//	resume  -> Store.Open, Counts.Acquire                  ticket -> whose it is, and whether there is room
//	        -> Store.Resume                                ticket -> session text, topics; the older holder goes
//	close   -> Store.Detach, Users.Release, Counts.Drop, Members.Remove, Directory.DeleteKey
//	        -> Store.TakeBack                              instead, when the client was not told of its new ticket
//	        -> Store.EndHeld, Store.End                    instead, when it is sent away: the session ends
//	restart -> StoreConfig.Journal, then Store.Remember    which tickets are spent, for the next process
//
// A connection is named by a [Ref] throughout. This package never looks inside one and never calls
// a connection: it answers with the reference of the connection that has to go, and the caller
// sends the word.
//
// # Ownership
//
// Strings handed in are kept, not copied (Directory copies custom ids, which arrive inside larger
// messages), so that a user id or topic name is stored once for connection, index and session
// together. Slices of a Snapshot belong to the Store from Detach on, and to the caller again after
// Resume or Handover.
//
// Whoever removes an entry says for which connection, and nothing happens when the entry has
// changed hands since. So a connection that was superseded may clean up as late as it likes without
// hurting its successor.
//
// # Goroutines
//
// None are started. Every type is safe for concurrent use by loops and other goroutines: state is
// spread over shards with a mutex each, held for a few map operations and never while calling out.
// Time and randomness come in as arguments; expired entries leave in small steps when the caller's
// timer calls Expire.
package session
