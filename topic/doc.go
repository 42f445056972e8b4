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
// Directory: any. Shard and Member: the owning loop only.
//
// # Cost
//
// Subscribe, unsubscribe and leaving are O(1) per subscription: the shard's
// slice and the member's list name each other's positions, and both remove by
// moving their last element into the gap.
package topic
