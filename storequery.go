package apitoken

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"
)

// SortKey is a column of the list (S1.21).
type SortKey string

// The sort keys. Ties are broken by ID, so that every order is total.
const (
	SortCreated  SortKey = "created" // the default
	SortName     SortKey = "name"    // byte order
	SortKind     SortKey = "kind"
	SortUses     SortKey = "uses"
	SortExpires  SortKey = "expires"   // never = last
	SortLastUsed SortKey = "last_used" // never = first
	SortStatus   SortKey = "status"    // active, disabled, expired, revoked
	SortHealth   SortKey = "health"    // red, green, grey, none ([Token.Color])
)

// StoreQuery is a [Store]'s list query. All conditions are joined by AND; zero
// conditions do not restrict.
type StoreQuery struct {
	Tenant    string // "" = all tenants
	AnyTenant bool   // must be set for Tenant ""; otherwise nothing matches

	// Kinds restricts to these kinds. With OwnedBy set, tokens of OwnKinds that
	// OwnedBy owns match beside them.
	AllKinds bool // every kind matches; Kinds, OwnKinds and OwnedBy are not looked at
	Kinds    []Kind
	OwnKinds []Kind
	OwnedBy  string

	OnlyKinds []Kind // and of one of these kinds
	Owner     string
	Agent     string
	Creator   string
	HasAgent  bool   // only tokens that belong to an agent
	Status    Status // as of Now: active, disabled, expired or revoked ([StatusAt])
	MetaKey   string // a token whose metadata has MetaKey = MetaValue, exactly
	MetaValue string

	Now   time.Time // the instant for statuses and colours; the same on every page
	Sort  SortKey   // "" = SortCreated
	Desc  bool      // reverses the order, ties included
	After *Position // nil = from the beginning
	Limit int       // at least 1
}

// Position is where the page before ended: the sort value and ID of its last
// token. Value is text for SortName and SortKind, a number for all others
// (instants in Unix microseconds, never = math.MaxInt64 for SortExpires, and 0
// for SortLastUsed).
type Position struct {
	Text   string
	Number int64
	ID     ID
}

// Matches reports whether t is among the tokens that query asks for; sort, limit
// and position do not matter. It is the definition that every store follows.
func (query *StoreQuery) Matches(t *Token) bool {
	if query.Tenant == "" && !query.AnyTenant || query.Tenant != "" && t.Tenant != query.Tenant {
		return false
	}
	if !query.AllKinds && !slices.Contains(query.Kinds, t.Kind) {
		owned := query.OwnedBy != "" && t.Owner == query.OwnedBy && slices.Contains(query.OwnKinds, t.Kind)
		if !owned {
			return false
		}
	}
	if len(query.OnlyKinds) > 0 && !slices.Contains(query.OnlyKinds, t.Kind) ||
		query.Owner != "" && t.Owner != query.Owner ||
		query.Agent != "" && t.Agent != query.Agent ||
		query.Creator != "" && t.Creator != query.Creator ||
		query.HasAgent && t.Agent == "" ||
		query.Status != "" && t.StatusAt(query.Now) != query.Status {
		return false
	}
	if query.MetaKey != "" {
		if v, ok := t.Metadata[query.MetaKey]; !ok || v != query.MetaValue {
			return false
		}
	}
	// What is due to be deleted is gone, swept or not.
	purge := t.PurgeAt(query.Now)
	return purge.IsZero() || query.Now.Before(purge)
}

// PositionOf returns where t stands in an order. Every store sorts as
// [Position.Compare] does.
func PositionOf(t *Token, key SortKey, now time.Time) Position {
	p := Position{ID: t.ID}
	switch key {
	case SortName:
		p.Text = t.Name
	case SortKind:
		p.Text = string(t.Kind)
	case SortUses:
		p.Number = t.Usage.Uses
	case SortExpires:
		p.Number = math.MaxInt64
		if ends := t.EndsAt(now); !ends.IsZero() {
			p.Number = ends.UnixMicro()
		}
	case SortLastUsed:
		if !t.Usage.LastUsed.IsZero() {
			p.Number = t.Usage.LastUsed.UnixMicro()
		}
	case SortStatus:
		p.Number = int64(slices.Index(statusOrder, t.StatusAt(now)))
	case SortHealth:
		p.Number = int64(slices.Index(colorOrder, t.color(now)))
	default:
		p.Number = t.CreatedAt.UnixMicro()
	}
	return p
}

var (
	statusOrder = []Status{StatusActive, StatusSuspended, StatusDisabled, StatusExpired, StatusRevoked}
	colorOrder  = []Color{ColorYellow, ColorRed, ColorGreen, ColorGrey, ColorNone}
)

// Compare orders positions of one sort key: by value, then by ID.
func (p Position) Compare(q Position) int {
	return cmp.Or(strings.Compare(p.Text, q.Text), cmp.Compare(p.Number, q.Number), strings.Compare(string(p.ID), string(q.ID)))
}
