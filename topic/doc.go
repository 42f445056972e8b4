// Package topic knows who hears what.
//
// # Data flow
//
//	name -> Directory -> Key (a number and its generation)
//	Key  -> Shard     -> slots of one loop's subscribers
//
// A publisher asks the Directory for the topic's Key and for the loops that
// have subscribers; each of those loops walks its own Shard. A name is looked
// up once per publish, whatever the number of subscribers.
//
// # Histories
//
//	Rule -> History -> Stream (one per topic) -> segments of records
//
// A topic that a Rule matches keeps its last messages in its Stream: at most Rule.Count of them, none
// older than Rule.Age, and all topics together at most so many bytes, of which the oldest go first.
// Messages have numbers from 1 on, one by one. A Position is an epoch and a number: the epoch is
// another when the topic was forgotten in between or the process is another one, so that a position
// never means a message that it was not made for.
//
// With HistoryConfig.Given numbers come from elsewhere, where several processes have one order: they
// rise, and leave some out. A stream then begins behind a number (Begin), gets what follows
// (AppendAt), and what is older when somebody wants it (Prepend). What is kept is told by bounds
// instead of numbers of messages: all from a bound on.
//
// One order for all loops comes from the stream's lock. Who appends messages holds it until they are
// on their way to each loop, and each loop hears them in the order of their numbers (Heard). So one
// number per topic and loop says what all subscribers there have been given.
//
// Messages are appended to segments of up to 16 KiB, which are dropped whole: a history of millions of
// small messages is some thousands of allocations without pointers. A segment takes no more 1 s behind
// its first message, so that "the oldest first" is right to a second. The limits of age and count are
// exact for who reads. What was looked at (View) is read without a lock: it does not change.
//
// Time comes in as an argument. Somebody calls Expire now and then.
//
// # Ownership
//
// A Shard and the Members in it belong to one loop. The Directory is shared:
// it interns names, counts subscribers per loop, and forgets a name when its
// last subscriber leaves. Numbers are used again with another generation, so a
// Key held by a message in flight never reaches the subscribers of a later
// topic.
//
// # Goroutines
//
// Directory, History: any. Shard and Member: the owning loop only. Of a Stream a loop touches its own
// place in Heard; the rest is the History's.
//
// # Cost
//
// Subscribe, unsubscribe and leaving are O(1) per subscription: the shard's
// slice and the member's list name each other's positions, and both remove by
// moving their last element into the gap.
package topic
