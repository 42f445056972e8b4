package session

import (
	"errors"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// MaxIDLen is the longest uniqId in bytes that business code or a client may choose (netsvr, custom
// uniqId flow).
const MaxIDLen = 128

// ErrIDLength reports a uniqId that is empty or longer than MaxIDLen.
var ErrIDLength = errors.New("session: uniqId must have 1 to 128 bytes")

// Directory finds the connection behind a uniqId. Any goroutine may call its methods.
//
// Gateway-made ids of our own server id are kept as their Key, 16 bytes an entry and no pointer for
// the garbage collector to follow; all others (custom ids, other server ids, lower case) as
// strings. The two cannot meet: the string of a Key always lands among the Keys, whoever chose it.
type Directory struct {
	serverID byte
	keys     [shardCount]refShard[Key]
	names    [shardCount]refShard[string]
}

// NewDirectory returns an empty Directory for the gateway with this server id.
func NewDirectory(serverID byte) *Directory {
	d := &Directory{serverID: serverID}
	for i := range shardCount {
		d.keys[i].m = make(map[Key]Ref)
		d.names[i].m = make(map[string]Ref)
	}
	return d
}

// Get returns the connection of id, or 0. It allocates nothing.
func (d *Directory) Get(id string) Ref {
	if server, k, ok := ParseID(id); ok && server == d.serverID {
		return d.GetKey(k)
	}
	return d.names[stringShard(id)].get(id)
}

// GetBytes is Get for an id that is still part of a packet. It allocates nothing.
func (d *Directory) GetBytes(id []byte) Ref {
	if server, k, ok := ParseID(id); ok && server == d.serverID {
		return d.GetKey(k)
	}
	s := &d.names[xxhash.Sum64(id)%shardCount]
	s.mu.Lock()
	ref := s.m[string(id)] // in this form the compiler looks up without copying
	s.mu.Unlock()
	return ref
}

// Put binds id to ref, which must not be 0, and returns the connection that held it before, 0 for
// none. From then on id means ref; the former holder's Delete does nothing. It fails with
// ErrIDLength.
func (d *Directory) Put(id string, ref Ref) (prev Ref, err error) {
	if err := checkID(id); err != nil {
		return 0, err
	}
	if server, k, ok := ParseID(id); ok && server == d.serverID {
		return d.PutKey(k, ref), nil
	}
	return d.names[stringShard(id)].put(strings.Clone(id), ref), nil
}

// PutIfAbsent binds id to ref, which must not be 0, unless a connection holds it, which it returns;
// 0 means that ref holds it now. It fails with ErrIDLength.
func (d *Directory) PutIfAbsent(id string, ref Ref) (holder Ref, err error) {
	if err := checkID(id); err != nil {
		return 0, err
	}
	if server, k, ok := ParseID(id); ok && server == d.serverID {
		return d.PutKeyIfAbsent(k, ref), nil
	}
	return d.names[stringShard(id)].putIfAbsent(strings.Clone(id), ref), nil
}

// Delete removes id if it is still bound to ref, and says whether it was.
func (d *Directory) Delete(id string, ref Ref) bool {
	if server, k, ok := ParseID(id); ok && server == d.serverID {
		return d.DeleteKey(k, ref)
	}
	return d.names[stringShard(id)].deleteIf(id, ref)
}

// GetKey is Get for a gateway-made id.
func (d *Directory) GetKey(k Key) Ref { return d.keys[keyShard(k)].get(k) }

// PutKey is Put for a gateway-made id.
func (d *Directory) PutKey(k Key, ref Ref) (prev Ref) { return d.keys[keyShard(k)].put(k, ref) }

// PutKeyIfAbsent is PutIfAbsent for a gateway-made id: business code may have given this very name
// to a connection.
func (d *Directory) PutKeyIfAbsent(k Key, ref Ref) (holder Ref) {
	return d.keys[keyShard(k)].putIfAbsent(k, ref)
}

// DeleteKey is Delete for a gateway-made id.
func (d *Directory) DeleteKey(k Key, ref Ref) bool { return d.keys[keyShard(k)].deleteIf(k, ref) }

// Len counts the ids, one shard at a time.
func (d *Directory) Len() int {
	n := 0
	for i := range shardCount {
		n += d.keys[i].len() + d.names[i].len()
	}
	return n
}

// Range calls f for each id until f returns false. It copies one shard at a time and holds no lock
// during f, so f may use the Directory; an id bound or deleted meanwhile may be seen or not, one
// that stays is seen once. The slice id is overwritten after f returns.
func (d *Directory) Range(f func(id []byte, ref Ref) bool) {
	var buf [MaxIDLen]byte
	var keys []boundRef[Key]
	for i := range shardCount {
		keys = d.keys[i].appendAll(keys[:0])
		for _, e := range keys {
			if !f(AppendID(buf[:0], d.serverID, e.key), e.ref) {
				return
			}
		}
	}
	var names []boundRef[string]
	for i := range shardCount {
		names = d.names[i].appendAll(names[:0])
		for _, e := range names {
			if !f(append(buf[:0], e.key...), e.ref) {
				return
			}
		}
	}
}

func checkID(id string) error {
	if len(id) == 0 || len(id) > MaxIDLen {
		return ErrIDLength
	}
	return nil
}
