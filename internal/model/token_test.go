package model_test

import (
	"fmt"
	"time"

	"github.com/tokenry/apitoken"
)

// token is what the model knows of a token.
type token struct {
	id        apitoken.ID
	kind      apitoken.Kind
	owner     string
	agent     string
	createdAt time.Time
	rec       *apitoken.Record // as it was last written

	version    int64
	state      apitoken.State
	disabledAt time.Time
	gone       bool
	expiresAt  time.Time
	expired    bool // the event of this expiry was written
	reused     bool // the reuse of a replaced value was reported since the last rotation
	legacy     bool // its older credential works

	values            []value // all that were shown
	current, previous string  // current is "" when the answer that would have shown it was lost
	previousUntil     time.Time

	recorded time.Time        // the latest use that the store has
	accepted [nodes]time.Time // the latest use that each node let in since it started
	lastUse  time.Time        // the latest use that any node let in
}

// value is one credential of a token.
type value struct {
	text     string
	legacyID string // text is the secret of this older ID
}

func (k *token) String() string {
	return fmt.Sprintf("%s token %s (%s, version %d)", k.kind, k.id, k.state, k.version)
}

func (k *token) setExpiry(at time.Time) {
	k.expiresAt, k.expired = at, false
	k.capOverlap()
}

func (k *token) capOverlap() {
	if !k.expiresAt.IsZero() && k.previousUntil.After(k.expiresAt) {
		k.previousUntil = k.expiresAt
	}
}

// idleAt is when the idle time ends, by the uses that the store and one node
// know.
func (k *token) idleAt(node int, now time.Time) time.Time {
	return k.idleFrom(later(k.recorded, k.accepted[node]), now)
}

// idleFrom is when it ends for a last use: that counts until the end of the
// interval it falls into, and one in the future as one now. Before the first, and
// for one that a clock behind dates before the creation, the creation counts.
func (k *token) idleFrom(last, now time.Time) time.Time {
	renewed := k.createdAt
	if !last.Before(k.createdAt) {
		if last.After(now) {
			last = now
		}
		renewed = last.Truncate(interval).Add(interval)
	}
	return renewed.Add(kinds[k.kind].Lifetime.Idle)
}

// opens reports whether a value of the token is to be accepted by a node now.
func (m *machine) opens(k *token, v value, node int) bool {
	now := m.now(node)
	rules := kinds[k.kind]
	switch {
	case k.gone, k.state != apitoken.StateActive, k.expired:
		return false
	case !k.expiresAt.IsZero() && !now.Before(k.expiresAt):
		return false
	case rules.Lifetime.Idle > 0 && !now.Before(k.idleAt(node, now)):
		return false
	case v.legacyID != "" && !k.legacy:
		return false
	case v.legacyID == "" && v.text != k.current && (v.text != k.previous || !now.Before(k.previousUntil)):
		return false
	case k.agent != "":
		return m.agents[k.agent] == agentActive
	case k.owner == "" || rules.OwnerInactive == apitoken.OwnerIgnored:
		return true
	}
	owner := m.owners[k.owner]
	return owner.active && (!rules.CreatorRolesAtUse || owner.hasRole)
}

// granted is what the token was given, by name.
func (k *token) granted() names {
	grant := k.rec.Token.Grant
	if grant.Role != "" {
		return roleNames[grant.Role]
	}
	return namesOf(grant.Permissions...)
}

// worth is what the token may do now: its grant within the owner where the kind
// says so, the kind's ceiling and the licence.
func (m *machine) worth(k *token) names {
	all := make(names)
	given := k.granted()
	for name := range apiNames {
		mode := kinds[k.kind].Grant
		has := mode == apitoken.GrantLive || given[name]
		if mode != apitoken.GrantFrozen {
			has = has && m.owners[k.owner].may[name]
		}
		if has && m.licence[name] && within(ceiling(k.kind), name) {
			all[name] = true
		}
	}
	return all
}

// names is a set of permissions, kept apart from the library's own.
type names map[string]bool

func namesOf(list ...string) names {
	n := make(names)
	for _, name := range list {
		n[name] = true
	}
	return n
}

func (n names) has(q apitoken.Permissions) bool {
	for _, name := range q.Names() {
		if !n[name] {
			return false
		}
	}
	return true
}

func ceiling(kind apitoken.Kind) names { return namesOf(kinds[kind].Ceiling...) }

// within reports whether a ceiling lets name pass; an empty one is none.
func within(limit names, name string) bool { return len(limit) == 0 || limit[name] }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
