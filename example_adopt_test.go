package apitoken_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/memstore"
)

// The code of docs/adopt.md is compiled and run here; TestAdopt keeps them in step.

const columns = `SELECT id, org_id, user_id, name, key_sha256, created_at, expires_at, last_used_at, revoked_at FROM api_keys`

func toRow(scan func(...any) error) (apitoken.ImportRow, error) {
	var row apitoken.ImportRow
	var digest string
	var expires, used, revoked sql.NullTime
	err := scan(&row.ID, &row.Tenant, &row.Owner, &row.Name, &digest, &row.CreatedAt, &expires, &used, &revoked)
	row.Digest, row.ExpiresAt, row.LastUsed = apitoken.NewSecret(digest), expires.Time, used.Time
	if revoked.Valid {
		row.Status = apitoken.StatusRevoked
	}
	return row, err
}

func findRow(db *sql.DB) func(ctx context.Context, key apitoken.LegacyKey) (apitoken.ImportRow, error) {
	return func(ctx context.Context, key apitoken.LegacyKey) (apitoken.ImportRow, error) {
		sum := sha256.Sum256([]byte(key.Secret.Reveal()))
		row, err := toRow(db.QueryRowContext(ctx, columns+` WHERE key_sha256 = $1`, hex.EncodeToString(sum[:])).Scan)
		if errors.Is(err, sql.ErrNoRows) {
			err = apitoken.ErrNotFound // the one answer that means 'no such key'; all else is an outage
		}
		return row, err
	}
}

func importAll(ctx context.Context, db *sql.DB, tokens *apitoken.Service) (apitoken.ImportReport, error) {
	rows, err := db.QueryContext(ctx, columns)
	if err != nil {
		return apitoken.ImportReport{}, err
	}
	defer rows.Close()
	each := func(yield func(apitoken.ImportRow, error) bool) {
		for rows.Next() && yield(toRow(rows.Scan)) {
		}
	}
	report, err := tokens.Import(ctx, apitoken.DangerouslyCrossTenant("migration"), each, func(i apitoken.Imported) error {
		if i.Err != nil {
			fmt.Println(i.Err) // names the row and what is wrong with it
		}
		return nil
	})
	return report, errors.Join(err, rows.Err())
}

func Example_adopt() {
	ctx := context.Background()
	db, store := openKeys(), memstore.New()
	secretFromYourVault := apitoken.NewSecret("32 random bytes from your vault.")

	opts := apitoken.Options{Prefix: "acme"}
	opts.Legacy = []apitoken.LegacyFormat{{
		Name: "api_keys", Prefix: "ak_", MinLength: 35, MaxLength: 35, Alphabet: "0123456789abcdef",
		Digest: apitoken.LegacySHA256,
	}}
	opts.ImportKey = secretFromYourVault // 32 random bytes, the same on all nodes, never changed
	opts.Fallback = findRow(db)
	tokens, err := apitoken.New(store, opts)
	check(err)

	verify := func(value string) {
		p, err := tokens.Verify(ctx, apitoken.VerifyRequest{Token: value})
		if err != nil {
			fmt.Println("refused:", apitoken.ReasonOf(err))
			return
		}
		fmt.Println(p.Owner, "of", p.Tenant, "by", p.Scheme)
	}
	verify(keyOfAnn) // its first use imports it
	verify(keyOfBob) // revoked in the old table
	verify("ak_ffffffffffffffffffffffffffffffff")

	for range 2 {
		report, err := importAll(ctx, db, tokens)
		check(err)
		fmt.Println(report.Rows, "rows:", report.New, "new,", report.Before, "before,", report.Stopped, "stopped,", report.Failed, "failed")
	}

	operator := apitoken.System("migration", "acme")
	state, err := tokens.ReadyToCutOver(ctx, operator, time.Now().AddDate(0, 0, -30))
	check(err)
	for _, token := range state.Tokens {
		fmt.Println(token.Owner, "still uses", token.Name)
	}

	ann := apitoken.Actor{ID: "ann", Tenant: "acme"} // from ann's own session
	issued, err := tokens.Rotate(ctx, ann, state.Tokens[0].ID, apitoken.RotateRequest{IfVersion: state.Tokens[0].Version})
	check(err)
	verify(keyOfAnn)
	verify(issued.Secret.Reveal())
	// Output:
	// ann of acme by legacy
	// refused: revoked
	// refused: unknown_token
	// apitoken: row "4": digest: is not 32 bytes in hex or base64
	// 4 rows: 1 new, 2 before, 0 stopped, 1 failed
	// apitoken: row "4": digest: is not 32 bytes in hex or base64
	// 4 rows: 0 new, 3 before, 0 stopped, 1 failed
	// ann still uses ci
	// refused: legacy_ended
	// ann of acme by bearer
}

// TestAdopt catches a guide whose code no longer compiles: every Go block stands
// in this file, line by line.
func TestAdopt(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("docs/adopt.md")
	require.NoError(t, err)
	text, err := os.ReadFile("example_adopt_test.go")
	require.NoError(t, err)
	compiled := "\n" + flush(strings.Split(string(text), "\n")) + "\n"
	blocks := fenced(string(guide))["go"]
	require.Len(t, blocks, 6)
	for _, lines := range blocks {
		block := flush(lines)
		require.Truef(t, strings.Contains(compiled, "\n"+block+"\n"), "no example compiles this block of docs/adopt.md:\n%s", block)
	}
}

// A table of keys behind database/sql, as small as it can be.

const (
	keyOfAnn = "ak_000102030405060708090a0b0c0d0e0f"
	keyOfBob = "ak_101112131415161718191a1b1c1d1e1f"
	keyOfEve = "ak_202122232425262728292a2b2c2d2e2f"
)

func openKeys() *sql.DB {
	created := time.Date(2024, time.May, 1, 9, 0, 0, 0, time.UTC)
	digest := func(key string) string { return hexOf256(key).Reveal() }
	return sql.OpenDB(keyTable{
		{"1", "acme", "ann", "ci", digest(keyOfAnn), created, nil, created, nil},
		{"2", "acme", "bob", "laptop", digest(keyOfBob), created, nil, nil, created},
		{"3", "rival", "eve", "", digest(keyOfEve), created, nil, nil, nil},
		{"4", "rival", "eve", "broken", "unreadable", created, nil, nil, nil},
	})
}

type keyTable [][]driver.Value

func (k keyTable) Connect(context.Context) (driver.Conn, error) { return keyConn{k}, nil }
func (k keyTable) Driver() driver.Driver                        { return nil }

type keyConn struct{ table keyTable }

func (keyConn) Prepare(string) (driver.Stmt, error) { return nil, errors.ErrUnsupported }
func (keyConn) Begin() (driver.Tx, error)           { return nil, errors.ErrUnsupported }
func (keyConn) Close() error                        { return nil }

func (c keyConn) QueryContext(_ context.Context, _ string, args []driver.NamedValue) (driver.Rows, error) {
	var found keyTable
	for _, row := range c.table {
		if len(args) == 0 || row[4] == args[0].Value {
			found = append(found, row)
		}
	}
	return &keyRows{found}, nil
}

type keyRows struct{ left keyTable }

func (r *keyRows) Columns() []string { return make([]string, 9) }
func (r *keyRows) Close() error      { return nil }
func (r *keyRows) Next(dest []driver.Value) error {
	if len(r.left) == 0 {
		return io.EOF
	}
	copy(dest, r.left[0])
	r.left = r.left[1:]
	return nil
}
