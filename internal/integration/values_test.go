package integration_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/sqlstore"
)

var veryLate = time.Date(9999, time.December, 31, 23, 59, 59, 999_999_000, time.UTC)

// recordNo returns a record with an ID of its own.
func recordNo(n int) *apitoken.Record {
	at := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	return &apitoken.Record{
		Token: apitoken.Token{
			ID: apitoken.ID(fmt.Sprintf("%022d", n)), Version: 1, Tenant: "acme", Kind: "token", Name: "ci", Creator: "ann",
			State: apitoken.StateActive, StateAt: at, CreatedAt: at, UpdatedAt: at, Share: 100,
		},
		Primary: apitoken.Slot{Algorithm: "sha256", Prefix: "acme", Blob: make([]byte, 32)},
		Op:      "op",
	}
}

// The longest and the oddest of what may be stored comes back as it was.
func TestExtremeValues(t *testing.T) {
	onEach(t, func(t *testing.T, e engine) {
		store, db := e.open(t)
		if e.dialect == sqlstore.MariaDB {
			db.SetMaxOpenConns(1)
			_, err := db.ExecContext(t.Context(), "SET SESSION sql_mode = ''") // not strict: it would cut what is too long
			require.NoError(t, err)
		}
		odd := "' \" ` \\ % _ ? $1 ; -- \n\t é e\u0301 ß 𝔘 👩‍👩‍👧 \u200b \ufeff"
		for n, set := range []func(rec *apitoken.Record){
			func(rec *apitoken.Record) {
				rec.Token.Name, rec.Token.Description, rec.Token.Reason = odd, odd, odd
				rec.Token.Tenant, rec.Token.Owner, rec.Alias, rec.IdempotencyKey = odd, odd, odd, odd
				rec.Token.Metadata = map[string]string{odd: odd, "x": "", "a\":\"b": "\",\"", ":": ","}
				rec.Token.Grant.Permissions, rec.Token.Origins = []string{odd, "", ","}, []string{odd}
			},
			func(rec *apitoken.Record) {
				rec.Token.Name = strings.Repeat("𝔘", 256)
				rec.Token.Description = strings.Repeat("𝔘", 4096)
				rec.Token.Reason = strings.Repeat("𝔘", 1024)
				long := strings.Repeat("x", 256)
				rec.Token.Tenant, rec.Token.Owner, rec.Token.Agent, rec.Token.Creator = long, long, long, long
				rec.Alias, rec.IdempotencyKey, rec.RotateKey = long, long, long
				for i := range 1024 {
					rec.Token.Grant.Permissions = append(rec.Token.Grant.Permissions, fmt.Sprintf("%0256d", i))
				}
			},
			func(rec *apitoken.Record) {
				rec.Token.ExpiresAt, rec.DueAt, rec.Token.Usage.LastUsed = veryLate, veryLate, veryLate
				rec.Token.Usage.Uses = 1<<63 - 1
				rec.Token.Terms = apitoken.Terms{Idle: 1<<63 - 1, Purge: 1<<63 - 1, Interval: 1, Notice: 1}
			},
		} {
			rec := recordNo(n)
			set(rec)
			require.NoError(t, store.Create(t.Context(), rec.Clone(), nil))
			got, err := store.Get(t.Context(), rec.Token.ID)
			require.NoError(t, err)
			require.Equal(t, rec.Token, got.Token)
			require.Equal(t, []string{rec.Alias, rec.IdempotencyKey, rec.RotateKey}, []string{got.Alias, got.IdempotencyKey, got.RotateKey})
			require.True(t, rec.DueAt.Equal(got.DueAt))
			if rec.Alias != "" {
				got, err = store.GetByAlias(t.Context(), rec.Alias)
				require.NoError(t, err)
				require.Equal(t, rec.Token.ID, got.Token.ID)
			}
			for key, value := range rec.Token.Metadata {
				query := apitoken.StoreQuery{Tenant: rec.Token.Tenant, AllKinds: true, MetaKey: key, MetaValue: value, Limit: 10, Now: rec.Token.CreatedAt}
				found, err := store.List(t.Context(), query)
				require.NoError(t, err)
				require.Len(t, found, 1, "%q = %q", key, value)
				query.MetaValue += "x"
				found, err = store.List(t.Context(), query)
				require.NoError(t, err)
				require.Empty(t, found)
			}
		}
	})
}

// Text that an engine would cut, change or refuse is refused by all of them, with
// the name of the column, and stores nothing. A look-up by such text finds nothing:
// it may come from a request.
func TestUnstorableTexts(t *testing.T) {
	onEach(t, func(t *testing.T, e engine) {
		store, _ := e.open(t)
		bad := map[string]string{"a zero byte": "a\x00b", "not UTF-8": "a\xffb", "too long": strings.Repeat("x", 20_000)}
		columns := map[string]func(rec *apitoken.Record, s string){
			"tenant":          func(rec *apitoken.Record, s string) { rec.Token.Tenant = s },
			"name":            func(rec *apitoken.Record, s string) { rec.Token.Name = s },
			"description":     func(rec *apitoken.Record, s string) { rec.Token.Description = s },
			"owner":           func(rec *apitoken.Record, s string) { rec.Token.Owner = s },
			"alias":           func(rec *apitoken.Record, s string) { rec.Alias = s },
			"idempotency_key": func(rec *apitoken.Record, s string) { rec.IdempotencyKey = s },
			"state":           func(rec *apitoken.Record, s string) { rec.Token.State = apitoken.State(s) },
			"primary_check":   func(rec *apitoken.Record, s string) { rec.Primary.Blob = []byte(strings.Repeat(s, 400)) },
		}
		n := 100
		for what, text := range bad {
			for column, set := range columns {
				n++
				rec := recordNo(n)
				require.NoError(t, store.Create(t.Context(), rec.Clone(), nil))
				rec.Token.Version++
				set(rec, text)
				if column != "tenant" && column != "idempotency_key" { // which Swap does not write
					err := store.Swap(t.Context(), rec, apitoken.Guard{}, nil)
					require.ErrorContains(t, err, column, "swap, %s", what)
					outage(t, err)
				}
				rec.Token.ID, rec.Token.Version = recordNo(n+1000).Token.ID, 1
				err := store.Create(t.Context(), rec, nil)
				require.ErrorContains(t, err, column, "create, %s", what)
				outage(t, err)
				_, err = store.Get(t.Context(), rec.Token.ID)
				require.ErrorIs(t, err, apitoken.ErrNotFound)
				got, err := store.Get(t.Context(), recordNo(n).Token.ID)
				require.NoError(t, err)
				require.Equal(t, int64(1), got.Token.Version)
			}
			_, err := store.GetByAlias(t.Context(), text)
			require.ErrorIs(t, err, apitoken.ErrNotFound, what)
			_, err = store.Get(t.Context(), apitoken.ID(text))
			require.ErrorIs(t, err, apitoken.ErrNotFound, what)
			set, err := store.Settings(t.Context(), text)
			require.NoError(t, err, what)
			require.Zero(t, set.Version)
			for _, query := range []apitoken.StoreQuery{{Tenant: text}, {Tenant: "acme", Owner: text}, {Tenant: "acme", MetaKey: text}} {
				query.AllKinds, query.Limit = true, 10
				found, err := store.List(t.Context(), query)
				require.NoError(t, err, what)
				require.Empty(t, found)
			}
			events, err := store.Events(t.Context(), text, "", "", 10)
			require.NoError(t, err, what)
			require.Empty(t, events)
			require.Error(t, store.SwapSettings(t.Context(), apitoken.Settings{Tenant: text, Version: 1}, nil))
		}
	})
}

// outage demands an error that is no answer.
func outage(t *testing.T, err error) {
	t.Helper()
	for _, family := range []error{apitoken.ErrNotFound, apitoken.ErrConflict, apitoken.ErrInvalid, apitoken.ErrUnauthenticated} {
		require.False(t, errors.Is(err, family), "%v is %v", err, family)
	}
}
