package session

import "sync"

// Users finds the one current connection of a user, and tells racing logins of one user apart. Any
// goroutine may call its methods.
//
// A login runs Claim, then whatever it takes (close the older connection, say), then Commit or Abort:
//
//	        Claim ok            Commit
//	idle ------------> claimed --------> bound to the new connection
//	                      |     Abort, or the claim of a later arrival
//	                      +------------> as before, the older connection bound if it still lives
//
// A connection that closes calls Abort if its login was under way, and Release if it was bound.
type Users struct {
	shards [shardCount]userShard
}

// userShard keeps the claims, which are few and short-lived, out of the entries that everybody has:
// 24 bytes instead of 32 for a user.
type userShard struct {
	mu     sync.Mutex
	bound  map[string]Ref
	claims map[string]claim
	_      [40]byte // a cache line of its own
}

// A claim is a login in progress.
type claim struct {
	ref     Ref
	arrival uint64
}

// NewUsers returns an empty index.
func NewUsers() *Users {
	u := new(Users)
	for i := range u.shards {
		u.shards[i].bound = make(map[string]Ref)
		u.shards[i].claims = make(map[string]claim)
	}
	return u
}

func (u *Users) shard(user string) *userShard { return &u.shards[stringShard(user)] }

// Claim starts a login of user by connection ref, which must not be 0. arrival orders logins by
// when they were asked for. ok is false while the login of a later arrival is in progress (GOSOC:
// ConnAck 5). The login of an earlier one loses its claim. old is the connection bound at present,
// or 0; it stays bound until Commit, unless it closes. The caller sees to it that old did not
// arrive later.
func (u *Users) Claim(user string, ref Ref, arrival uint64) (old Ref, ok bool) {
	s := u.shard(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.claims[user]; other.ref != 0 && other.ref != ref && other.arrival >= arrival {
		return 0, false
	}
	s.claims[user] = claim{ref, arrival}
	return s.bound[user], true
}

// Commit ends ref's claim and makes ref the user's connection. It reports false and does nothing if
// ref holds no claim, or has lost it to a later arrival. The string user is kept while bound.
func (u *Users) Commit(user string, ref Ref) bool {
	s := u.shard(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dropClaimLocked(user, ref) {
		return false
	}
	s.bound[user] = ref
	return true
}

// Abort ends ref's claim and leaves the binding as it is. It reports false if ref held no claim.
func (u *Users) Abort(user string, ref Ref) bool {
	s := u.shard(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropClaimLocked(user, ref)
}

// Release removes the binding if it is still ref, and says whether it was. A claim in progress goes on.
func (u *Users) Release(user string, ref Ref) bool {
	s := u.shard(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	if ref == 0 || s.bound[user] != ref {
		return false
	}
	delete(s.bound, user)
	return true
}

// Get returns the user's connection, or 0. It allocates nothing.
func (u *Users) Get(user string) Ref {
	s := u.shard(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bound[user]
}

// Len counts the users that have a connection, one shard at a time.
func (u *Users) Len() int {
	n := 0
	for i := range u.shards {
		s := &u.shards[i]
		s.mu.Lock()
		n += len(s.bound)
		s.mu.Unlock()
	}
	return n
}

func (s *userShard) dropClaimLocked(user string, ref Ref) bool {
	if ref == 0 || s.claims[user].ref != ref {
		return false
	}
	delete(s.claims, user)
	return true
}
