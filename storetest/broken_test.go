package storetest_test

import (
	"slices"
	"time"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/memstore"
)

// brokenStores are the mistakes that stores make: what is wrong, the topic that
// must find it and the sentence it must quote.
var brokenStores = []struct {
	name    string
	topic   string
	says    string
	breakIt func(good *memstore.Store) apitoken.Store
}{
	{"Swap drops the guard", "guard", "the stored last use is not later", func(s *memstore.Store) apitoken.Store { return &noGuard{Store: s, swap: true} }},
	{"Swap drops the guard, in a race", "race", "as NotUsedAfter, for a token", func(s *memstore.Store) apitoken.Store { return &noGuard{Store: s, swap: true} }},
	{"Delete drops the guard", "guard", "as NotUsedAfter, for a token", func(s *memstore.Store) apitoken.Store { return &noGuard{Store: s} }},
	{"Swap saves the row whatever its version", "swap", "Otherwise it stores nothing and returns ErrConflict", func(s *memstore.Store) apitoken.Store { return saveRow{s} }},
	{"Swap saves the row, in a race", "race", "Otherwise it stores nothing and returns ErrConflict", func(s *memstore.Store) apitoken.Store { return saveRow{s} }},
	{"Swap writes usage", "swap", "stay as they are stored, whatever rec holds.", func(s *memstore.Store) apitoken.Store { return swapsUsage{s} }},
	{"Swap checks before it writes", "race", "Swap replaces a token whose stored version", func(s *memstore.Store) apitoken.Store { return checkThenWrite{s} }},
	{"Get returns what it holds", "copies", "It owns what it is given and hands out copies", func(s *memstore.Store) apitoken.Store { return sharesMemory{s} }},
	{"Create keeps what it is given", "copies", "It owns what it is given and hands out copies", func(s *memstore.Store) apitoken.Store { return &keepsGiven{Store: s} }},
	{"a field is forgotten", "round trip", "Create adds a token, as it is given", func(s *memstore.Store) apitoken.Store {
		return forgets{s, func(rec *apitoken.Record) { rec.Legacy.KeyID = "" }}
	}},
	{"a list loses its order", "round trip", "Create adds a token, as it is given", func(s *memstore.Store) apitoken.Store {
		return forgets{s, func(rec *apitoken.Record) { slices.Reverse(rec.Token.Networks) }}
	}},
	{"instants lose their microseconds", "round trip", "Create adds a token, as it is given", func(s *memstore.Store) apitoken.Store {
		return forgets{s, func(rec *apitoken.Record) { rec.Token.StateAt = rec.Token.StateAt.Truncate(time.Millisecond) }}
	}},
	{"instants come in another zone", "round trip", "Create adds a token, as it is given", func(s *memstore.Store) apitoken.Store {
		return forgets{s, func(rec *apitoken.Record) { rec.DueAt = rec.DueAt.In(time.FixedZone("X", 3600)) }}
	}},
	{"IDs are compared without case", "get", "Get returns the token with this ID, or ErrNotFound.", func(s *memstore.Store) apitoken.Store { return &foldsCase{Store: s} }},
	{"the events of a refused Create stay", "create", "A write and its events happen together or not at all.", func(s *memstore.Store) apitoken.Store { return looseEvents{s} }},
	{"a deleted token comes back", "create", "its token deleted or not.", func(s *memstore.Store) apitoken.Store { return forgetsUsed{s} }},
	{"the duplicate is not named", "create", "If the ID, the alias or the idempotency key", func(s *memstore.Store) apitoken.Store { return plainConflict{s} }},
	{"Replace swaps, then creates", "replace", "all of it happens or nothing.", func(s *memstore.Store) apitoken.Store { return swapsThenCreates{s} }},
	{"Replace creates, then swaps", "replace", "all of it happens or nothing.", func(s *memstore.Store) apitoken.Store { return createsThenSwaps{s} }},
	{"Replace creates, then swaps, in a race", "race", "all of it happens or nothing.", func(s *memstore.Store) apitoken.Store { return createsThenSwaps{s} }},
	{"Replace drops the guard", "replace", "Errors are those of the two", func(s *memstore.Store) apitoken.Store { return replacesUnguarded{s} }},
	{"Replace takes any version", "replace", "Errors are those of the two", func(s *memstore.Store) apitoken.Store { return replacesAny{s} }},
	{"Replace takes any version, in a race", "race", "all of it happens or nothing.", func(s *memstore.Store) apitoken.Store { return replacesAny{s} }},
	{"Replace forgets the events of the old token", "replace", "all of it happens or nothing.", func(s *memstore.Store) apitoken.Store { return replacesSilently{s} }},
	{"Replace ignores the context", "context", "honours its context.", func(s *memstore.Store) apitoken.Store { return replacesAnyway{s} }},
	{"events die with the token", "delete", "It finds them after the token is gone too.", func(s *memstore.Store) apitoken.Store { return eventsDie{s} }},
	{"Touch moves back", "touch", "Counts add up; the last use", func(s *memstore.Store) apitoken.Store { return touchesBack{s} }},
	{"Touch creates", "touch", "Touch never creates and never revives.", func(s *memstore.Store) apitoken.Store { return touchCreates{s} }},
	{"Touch counts as a change", "touch", "The version stays", func(s *memstore.Store) apitoken.Store { return touchChanges{s} }},
	{"Touch forgets those of the month", "period uses", "Those of a day, a week and a month", func(s *memstore.Store) apitoken.Store {
		return touchesPeriods{s, func(_ apitoken.Usage, u *apitoken.Use) { u.Month = apitoken.PeriodUses{} }}
	}},
	{"Touch adds those of another day", "period uses", "Those of a day, a week and a month", func(s *memstore.Store) apitoken.Store {
		return touchesPeriods{s, func(stored apitoken.Usage, u *apitoken.Use) {
			if !stored.Day.From.IsZero() {
				u.Day.From = stored.Day.From
			}
		}}
	}},
	{"Touch lets an earlier week take over", "period uses", "Those of a day, a week and a month", func(s *memstore.Store) apitoken.Store {
		return touchesPeriods{s, func(_ apitoken.Usage, u *apitoken.Use) { u.WrittenAt = u.WrittenAt.AddDate(0, -1, 0) }}
	}},
	{"Touch takes a day for its own, in a race", "race", "Those of a day, a week and a month", func(s *memstore.Store) apitoken.Store {
		return touchesPeriods{s, func(stored apitoken.Usage, u *apitoken.Use) {
			if !stored.Day.From.IsZero() {
				u.Day.From = stored.Day.From
			}
		}}
	}},
	{"Touch goes by the last use", "period uses", "Those of a day, a week and a month", func(s *memstore.Store) apitoken.Store {
		return touchesPeriods{s, func(_ apitoken.Usage, u *apitoken.Use) { u.WrittenAt = u.LastUsed }}
	}},
	{"Touch believes a clock that ran ahead", "period uses", "Those of a day, a week and a month", func(s *memstore.Store) apitoken.Store {
		return touchesPeriods{s, func(stored apitoken.Usage, u *apitoken.Use) {
			if u.Day.From.Before(stored.Day.From) {
				u.Day = apitoken.PeriodUses{}
			}
		}}
	}},
	{"Touch loses uses of other nodes", "race", "Counts add up", func(s *memstore.Store) apitoken.Store { return touchesBack{s} }},
	{"List forgets a filter", "list", "It is the definition that every store follows.", func(s *memstore.Store) apitoken.Store {
		return lists{Store: s, query: func(query *apitoken.StoreQuery) { query.MetaKey = "" }}
	}},
	{"List shows all tenants", "list", "otherwise nothing matches", func(s *memstore.Store) apitoken.Store {
		return lists{Store: s, query: func(query *apitoken.StoreQuery) { query.AnyTenant = true }}
	}},
	{"List turns the order but not the ties", "list", "Every store sorts as [Position.Compare] does.", func(s *memstore.Store) apitoken.Store {
		return lists{Store: s, turn: true}
	}},
	{"List pages by the value alone", "list", "Every store sorts as [Position.Compare] does.", func(s *memstore.Store) apitoken.Store {
		return lists{Store: s, query: func(query *apitoken.StoreQuery) {
			if query.After != nil {
				query.After.ID = "zzzzzzzzzzzzzzzzzzzzzz"
			}
		}}
	}},
	{"Counts looks at the position", "counts", "Counts returns how many tokens there are", func(s *memstore.Store) apitoken.Store { return countsPage{s} }},
	{"Due forgets ties", "due", "Due returns tokens of all tenants", func(s *memstore.Store) apitoken.Store { return dueTies{s} }},
	{"Due leaves out the instant itself", "due", "Due returns tokens of all tenants", func(s *memstore.Store) apitoken.Store { return dueBefore{s} }},
	{"Claim does not lease", "outbox", "until the lease ends no other Claim returns it.", func(s *memstore.Store) apitoken.Store { return noLease{s} }},
	{"Claim goes by the order of writing", "outbox", "the earliest Time first.", func(s *memstore.Store) apitoken.Store {
		return &claimsAsWritten{Store: s, times: map[string]time.Time{}}
	}},
	{"Claim reads, then leases", "outbox", "until the lease ends no other Claim returns it.", func(s *memstore.Store) apitoken.Store { return &claimTwice{Store: s} }},
	{"Settle ignores the lease", "outbox", "A settlement whose lease is no longer the event's own", func(s *memstore.Store) apitoken.Store {
		return &settlesAny{Store: s, holders: map[string]string{}}
	}},
	{"what is set aside comes back", "outbox", "Settle ends claims", func(s *memstore.Store) apitoken.Store { return noAside{s} }},
	{"settings are saved whatever their version", "settings", "SwapSettings stores settings whose version", func(s *memstore.Store) apitoken.Store { return savesSettings{s} }},
	{"Stats count what was delivered", "stats", "events neither delivered nor set aside yet", func(s *memstore.Store) apitoken.Store { return countsAll{s} }},
	{"Record is kept after a change", "records", "It is as fresh as Get's", func(s *memstore.Store) apitoken.Store {
		return &staleRecords{Store: s, kept: map[apitoken.ID]*apitoken.Record{}}
	}},
	{"Record is kept after a change, behind a decorator", "records", "It is as fresh as Get's", func(s *memstore.Store) apitoken.Store {
		stale := &staleRecords{Store: s, kept: map[apitoken.ID]*apitoken.Record{}}
		return decorated{stale, stale}
	}},
	{"Revisions do not tell of uses", "revisions", "What was read of a token is still so", func(s *memstore.Store) apitoken.Store { return unusedRevisions{s} }},
	{"Revisions do not tell of uses that are not the last", "revisions", "Revisions returns where those of the tokens stand", func(s *memstore.Store) apitoken.Store { return uncountedRevisions{s} }},
	{"Revisions are kept after a change", "revisions", "Revisions returns where those of the tokens stand", func(s *memstore.Store) apitoken.Store {
		return &staleRevisions{Store: s, kept: map[apitoken.ID]apitoken.Revision{}}
	}},
	{"Revisions tell of some", "revisions", "Revisions returns where those of the tokens stand", func(s *memstore.Store) apitoken.Store { return someRevisions{s} }},
	{"Revisions ignore the context", "context", "honours its context.", func(s *memstore.Store) apitoken.Store { return anywayRevisions{s} }},
	{"instants are kept in the zone they came in", "round trip", "It keeps instants in UTC with microseconds.", func(s *memstore.Store) apitoken.Store { return keepsZone{s} }},
	{"the context is ignored", "context", "honours its context.", func(s *memstore.Store) apitoken.Store { return noContext{s} }},
	{"an outage is taken for 'not found'", "context", "[ErrNotFound] means that there is no such row, and nothing else.", func(s *memstore.Store) apitoken.Store { return outageIsNo{s} }},
	{"an outage is taken for a conflict", "context", "Any error other than the ones named is an outage", func(s *memstore.Store) apitoken.Store { return outageIsConflict{s} }},
}
