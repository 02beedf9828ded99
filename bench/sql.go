package bench

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/cachestore"
	"github.com/tokenry/apitoken/sqlstore"
)

// lookUpToken reads a token as every verification does that no cache answers.
func lookUpToken(b *testing.B, bed *sqlBed) {
	lookUp(b, bed.ids, func(id apitoken.ID) bool {
		_, err := bed.store.Get(b.Context(), id)
		return err == nil
	})
}

// queryRow selects the columns that sqlstore reads, by primary key, into variables
// of plain types that all rows share. It is the yardstick of lookUpToken: what the
// driver and the database take for the row, whoever asks.
func queryRow(b *testing.B, bed *sqlBed) {
	names, dest, err := bed.columns(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	selectRow(b, bed, strings.Join(names, ", "), dest)
}

// queryNarrowRow selects what a table of keys of one's own would have.
func queryNarrowRow(b *testing.B, bed *sqlBed) {
	var tenant, owner, kind, state, permissions string
	var expires int64
	var digest []byte
	selectRow(b, bed, "tenant, owner, kind, state, expires_at, permissions, primary_check",
		[]any{&tenant, &owner, &kind, &state, &expires, &permissions, &digest})
}

// columns returns the columns of a token, with a variable for each.
func (bed *sqlBed) columns(ctx context.Context) (names []string, dest []any, err error) {
	rows, err := bed.db.QueryContext(ctx, "SELECT * FROM apitoken_tokens WHERE 1 = 0")
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	for _, t := range types {
		names = append(names, t.Name())
		dest = append(dest, variable(t))
	}
	return names, dest, err
}

func variable(t *sql.ColumnType) any {
	switch kind := t.DatabaseTypeName(); {
	case strings.Contains(kind, "INT"):
		return new(int64)
	case kind == "BYTEA", strings.HasSuffix(kind, "BLOB"), strings.HasSuffix(kind, "BINARY"):
		return new([]byte)
	case t.Name() == "alias", t.Name() == "idempotency_key":
		return new(sql.NullString)
	}
	return new(string)
}

func selectRow(b *testing.B, bed *sqlBed, columns string, dest []any) {
	row, err := bed.db.PrepareContext(b.Context(), "SELECT "+columns+" FROM apitoken_tokens WHERE id = "+bed.places(1)[0])
	if err != nil {
		b.Fatal(err)
	}
	defer row.Close()
	lookUp(b, bed.ids, func(id apitoken.ID) bool {
		return row.QueryRowContext(b.Context(), string(id)).Scan(dest...) == nil
	})
}

// verifyOn asks the database at each request.
func verifyOn(b *testing.B, bed *sqlBed) {
	bed.run(b, bed.request())
}

// verifyCached has a cache before it. The cache confirms what it has every few
// seconds, with a statement for 500 tokens: too seldom to show here.
func verifyCached(b *testing.B, bed *sqlBed) {
	cache, err := cachestore.New(bed.store, cachestore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	cached := bed.with(b, cache, nil)
	cached.run(b, cached.request())
}

// verifyAndWrite uses few tokens and writes their uses every second: as many rows as
// a Service writes by default, in a minute, for a thousand tokens in use, but in more
// transactions. Requests wait for it; in a server another goroutine writes.
func verifyAndWrite(b *testing.B, bed *sqlBed) {
	writing := bed.with(b, bed.store, nil)
	writing.verifier = &flushing{Service: writing.verifier.(*apitoken.Service)}
	writing.tokens = writing.tokens[:tokensPerSecond]
	writing.run(b, writing.request())
}

const tokensPerSecond = 17

type flushing struct {
	*apitoken.Service
	last time.Time
}

func (f *flushing) Verify(ctx context.Context, req apitoken.VerifyRequest) (apitoken.Principal, error) {
	if now := time.Now(); now.Sub(f.last) >= time.Second {
		f.last = now
		if err := f.Flush(ctx); err != nil {
			return apitoken.Principal{}, err
		}
	}
	return f.Service.Verify(ctx, req)
}

// verifyUnrecorded records no uses: there is no room for any.
func verifyUnrecorded(b *testing.B, bed *sqlBed) {
	full := bed.with(b, bed.store, func(o *apitoken.Options) { o.MaxPendingUses = 1 })
	full.tokens = full.tokens[:tokensPerSecond]
	full.run(b, full.request())
}

// with returns a bed of the same tokens behind another Service.
func (bed *sqlBed) with(tb testing.TB, store apitoken.Store, change func(*apitoken.Options)) *bed {
	opts, need, err := options(Tokens)
	if err != nil {
		tb.Fatal(err)
	}
	if change != nil {
		change(&opts)
	}
	service, err := apitoken.New(store, opts)
	if err != nil {
		tb.Fatal(err)
	}
	other := *bed.bed
	other.verifier, other.need = service, need
	return &other
}

// uses is how many are written at once.
const uses = 500

// touch writes the uses of many tokens, as Flush does.
func touch(b *testing.B, bed *sqlBed) {
	batch := make([]apitoken.Use, uses)
	b.ReportAllocs()
	for b.Loop() {
		now := time.Now().UTC().Truncate(time.Microsecond)
		for i := range batch {
			batch[i] = apitoken.Use{ID: bed.ids[i], Count: 3, LastUsed: now, Address: client, Networks: seen}
		}
		if err := bed.store.Touch(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
}

var seen = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("198.51.100.0/24")}

// touchSingly writes as many with a prepared statement for each token.
func touchSingly(b *testing.B, bed *sqlBed) {
	at := bed.places(5)
	update, err := bed.db.PrepareContext(b.Context(), fmt.Sprintf(
		"UPDATE apitoken_tokens SET uses = uses + %s, last_used = %s, last_address = %s, recent_networks = %s WHERE id = %s",
		at[0], at[1], at[2], at[3], at[4]))
	if err != nil {
		b.Fatal(err)
	}
	defer update.Close()
	address, networks := client.String(), fmt.Sprintf("[%q,%q]", seen[0], seen[1])
	b.ReportAllocs()
	for b.Loop() {
		now := time.Now().UnixMicro()
		for _, id := range bed.ids[:uses] {
			if _, err := update.ExecContext(b.Context(), 3, now, address, networks, string(id)); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// places are the placeholders of n values.
func (bed *sqlBed) places(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = "?"
		if bed.dialect == sqlstore.PostgreSQL {
			out[i] = fmt.Sprintf("$%d", i+1)
		}
	}
	return out
}
