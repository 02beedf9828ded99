package bench

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tokenry/apitoken"
)

// yardstick is what prim looks at.
type yardstick struct {
	stored  map[string][sha256.Size]byte
	entries []struct{ id, secret string }
}

func newYardstick() *yardstick {
	y := &yardstick{stored: make(map[string][sha256.Size]byte, Tokens)}
	for i := range Tokens {
		id, secret := fmt.Sprintf("%022d", i), fmt.Sprintf("%043d", i)
		y.entries = append(y.entries, struct{ id, secret string }{id, secret})
		y.stored[id] = sha256.Sum256([]byte(secret))
	}
	return y
}

// check is the least that checking a stored token can cost: one SHA-256 block
// over the 43 characters of a secret, a look-up among the warm tokens, a
// comparison in constant time. No server could do with less.
func (y *yardstick) check(i int) bool {
	e := &y.entries[i]
	var text [43]byte
	copy(text[:], e.secret)
	sum := sha256.Sum256(text[:])
	want := y.stored[e.id]
	return subtle.ConstantTimeCompare(sum[:], want[:]) == 1
}

func prim(b *testing.B) {
	y := newYardstick()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if !y.check(i) {
			b.Fatal("no match")
		}
		if i++; i == Tokens {
			i = 0
		}
	}
}

// primParallel shows what the machine gives to two that share nothing.
func primParallel(b *testing.B) {
	y := newYardstick()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		i := 0
		for pb.Next() {
			if !y.check(i) {
				b.Error("no match")
				return
			}
			if i++; i == Tokens {
				i = 0
			}
		}
	})
}

// handRolled is what most programs write for themselves: the hex of a hash as
// the key of a map, an expiry, a list of scopes. No owner, no usage, no states.
type handRolled struct {
	mu     sync.RWMutex
	tokens map[string]handRolledToken
}

type handRolledToken struct {
	user    string
	expires time.Time
	scopes  []string
}

func (h *handRolled) verify(token, scope string) (user string, ok bool) {
	sum := sha256.Sum256([]byte(token))
	h.mu.RLock()
	t, found := h.tokens[hex.EncodeToString(sum[:])]
	h.mu.RUnlock()
	if !found || time.Now().After(t.expires) {
		return "", false
	}
	for _, s := range t.scopes {
		if s == scope {
			return t.user, true
		}
	}
	return "", false
}

func verifyHandRolled(b *testing.B) {
	h := &handRolled{tokens: make(map[string]handRolledToken)}
	tokens := make([]string, Tokens)
	for i := range tokens {
		tokens[i] = fmt.Sprintf("%043d", i)
		sum := sha256.Sum256([]byte(tokens[i]))
		h.tokens[hex.EncodeToString(sum[:])] = handRolledToken{
			user:    fmt.Sprintf("user-%d", i),
			expires: time.Now().Add(time.Hour),
			scopes:  scopes(),
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, ok := h.verify(tokens[i], "area5:view"); !ok {
			b.Fatal("refused")
		}
		if i++; i == len(tokens) {
			i = 0
		}
	}
}

// scopes are what every token may do, whoever keeps it.
func scopes() []string {
	var all []string
	for i := range 10 {
		all = append(all, fmt.Sprintf("area%d:view", i))
	}
	return all
}

// bareMap is a map in shards with a lock each and nothing else. It holds no
// pointers, so that the garbage collector does not notice it.
type bareMap struct {
	shards [64]struct {
		mu sync.RWMutex
		m  map[[22]byte]int
	}
}

func shardOf(key *[22]byte) int { return (int(key[0])*31 + int(key[1])) % 64 }

func (m *bareMap) put(id apitoken.ID, v int) {
	key := [22]byte([]byte(id))
	s := &m.shards[shardOf(&key)]
	if s.m == nil {
		s.m = make(map[[22]byte]int)
	}
	s.m[key] = v
}

func (m *bareMap) get(id apitoken.ID) (int, bool) {
	var key [22]byte
	copy(key[:], id)
	s := &m.shards[shardOf(&key)]
	s.mu.RLock()
	v, ok := s.m[key]
	s.mu.RUnlock()
	return v, ok
}
