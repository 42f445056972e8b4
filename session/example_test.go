package session_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/sluicenet/sluice/session"
)

// A client loses its connection, 1, and comes back on another, 2.
func ExampleStore() {
	now := time.UnixMilli(1700000000000)
	store, err := session.NewStore(session.StoreConfig{Key: [session.KeySize]byte{1, 2, 3}, Rand: rand.Reader})
	if err != nil {
		panic(err)
	}
	issued, _ := store.Begin(now, 1, session.Login{User: "ann"})
	store.Detach(now, issued.ID, 1, session.Snapshot{SessionText: "level 3", Topics: []string{"news"}})

	ticket, _ := store.Open(now.Add(time.Second), []byte(issued.Ticket))
	resumed, err := store.Resume(now.Add(time.Second), ticket, 2)
	fmt.Println(resumed.User, resumed.Snapshot.SessionText, resumed.Snapshot.Topics, err)

	ticket, _ = store.Open(now.Add(time.Minute), []byte(issued.Ticket))
	_, err = store.Resume(now.Add(time.Minute), ticket, 3)
	fmt.Println(errors.Is(err, session.ErrReplayed))
	// Output:
	// ann level 3 [news] <nil>
	// true
}

// The second login of a user, by connection 2, kicks out connection 1.
func ExampleUsers() {
	users := session.NewUsers()
	users.Claim("ann", 1, 1)
	users.Commit("ann", 1)

	old, ok := users.Claim("ann", 2, 3)
	fmt.Println("close", old, ok)
	_, ok = users.Claim("ann", 3, 2)
	fmt.Println("one that came earlier, and is late, may log in:", ok)
	users.Commit("ann", 2)
	fmt.Println("1 still bound when it closes:", users.Release("ann", 1))
	fmt.Println("bound:", users.Get("ann"))
	// Output:
	// close 1 true
	// one that came earlier, and is late, may log in: false
	// 1 still bound when it closes: false
	// bound: 2
}

// A connection takes over a name; the former holder's clean-up comes late.
func ExampleDirectory() {
	d := session.NewDirectory(0x07)
	id := session.FormatID(0x07, session.NewGenerator(41).Next(time.Unix(1700000000, 0)))
	d.Put(id, 1)
	evicted, _ := d.Put(id, 2)
	fmt.Println(id, evicted, d.Delete(id, evicted), d.Get(id))
	// Output: 076553F1000000002A 1 false 2
}
