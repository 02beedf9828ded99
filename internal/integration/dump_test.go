package integration_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/internal/integration/servers"
	"github.com/tokenry/apitoken/sqlstore"
)

// P9, P10: whoever has the whole database has no value of any token, and nothing
// in it opens one.
func TestStolenDatabase(t *testing.T) {
	t.Parallel()
	for _, e := range engines() {
		if strings.Contains(e.name, string(servers.RepeatableRead)) || strings.Contains(e.name, string(servers.Serializable)) {
			continue // what is stored does not depend on the level
		}
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			store, db := e.open(t)
			env := apitokentest.Over(t, store, apitoken.Options{
				Kinds:       map[apitoken.Kind]apitoken.Policy{"plain": {}, "legacy": {Legacy: true}},
				DefaultKind: "plain",
			})
			canaries := leave(t, env)
			dump := dumpOf(t, db)
			for _, canary := range canaries {
				require.NotContains(t, dump, canary)
			}
			if e.dialect == sqlstore.SQLite {
				files := filesOf(t, db)
				for _, canary := range canaries {
					require.False(t, bytes.Contains(files, []byte(canary)), "a value is in the file")
				}
			}
			compared := 0
			for _, value := range opened(t, store) {
				_, err := env.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: value})
				require.ErrorIs(t, err, apitoken.ErrUnauthenticated, "%q", value)
				if errors.Is(err, apitoken.ErrWrongSecret) {
					compared++
				}
			}
			require.Greater(t, compared, 30, "values that passed for a token's until the secret was compared")
			last := canaries[len(canaries)-1]
			require.Contains(t, last+dump, last)
			require.Greater(t, len(canaries), 60)
		})
	}
}

// leave does with tokens what can be done with them, and returns their values.
func leave(t *testing.T, env *apitokentest.Env) (canaries []string) {
	t.Helper()
	ctx, ann := t.Context(), env.Actor("ann")
	keep := func(secret apitoken.Secret) {
		value := secret.Reveal()
		canaries = append(canaries, value, value[len(value)-49:len(value)-6])
	}
	for i := range 20 {
		issued := env.Issue(apitoken.IssueRequest{Name: fmt.Sprint("token ", i), IdempotencyKey: fmt.Sprint("key ", i), Metadata: map[string]string{"n": fmt.Sprint(i)}})
		keep(issued.Secret)
		id := issued.Token.ID
		env.Verify(issued.Secret)
		rotated, err := env.Service.Rotate(ctx, ann, id, apitoken.RotateRequest{IdempotencyKey: "first", Overlap: time.Hour})
		require.NoError(t, err)
		keep(rotated.Secret)
		_, err = env.Service.Verify(ctx, apitoken.VerifyRequest{Token: issued.Secret.Reveal() + "x"})
		require.Error(t, err)
		switch i % 4 {
		case 0:
			require.NoError(t, env.Service.Revoke(ctx, ann, id, "left"))
		case 1:
			_, err := env.Service.Disable(ctx, ann, id, "pause")
			require.NoError(t, err)
		case 2:
			require.NoError(t, env.Service.Delete(ctx, ann, id, "gone"))
		}
		pair := fmt.Sprintf("an older secret, number %06d of many", i)
		canaries = append(canaries, pair)
		_, err = env.Service.Issue(ctx, ann, apitoken.IssueRequest{Kind: "legacy", Name: "pair", Legacy: apitoken.LegacyCredential{ID: fmt.Sprint("uuid-", i), Secret: apitoken.NewSecret(pair)}})
		require.NoError(t, err)
	}
	env.Clock.Advance(2 * time.Hour)
	_, err := env.Service.Sweep(ctx)
	require.NoError(t, err)
	require.NoError(t, env.Service.Flush(ctx))
	return canaries
}

// dumpOf is all that is in the tables, as text.
func dumpOf(t *testing.T, db *sql.DB) string {
	t.Helper()
	var out strings.Builder
	for _, table := range []string{"tokens", "events", "outbox", "settings", "replays"} {
		rows, err := db.QueryContext(t.Context(), "SELECT * FROM apitoken_"+table)
		require.NoError(t, err)
		columns, err := rows.Columns()
		require.NoError(t, err)
		for rows.Next() {
			row := make([]any, len(columns))
			for i := range row {
				row[i] = new(sql.RawBytes)
			}
			require.NoError(t, rows.Scan(row...))
			for i := range row {
				fmt.Fprintf(&out, "%s.%s=%s\n", table, columns[i], *row[i].(*sql.RawBytes))
			}
		}
		require.NoError(t, rows.Err())
		require.NoError(t, rows.Close())
	}
	require.Contains(t, out.String(), "tokens.name=token 19")
	return out.String()
}

// filesOf is the file of an SQLite database with its log.
func filesOf(t *testing.T, db *sql.DB) []byte {
	t.Helper()
	var seq, name, path string
	require.NoError(t, db.QueryRowContext(t.Context(), "PRAGMA database_list").Scan(&seq, &name, &path))
	files, err := filepath.Glob(path + "*")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var all []byte
	for _, file := range files {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		all = append(all, b...)
	}
	return all
}

// opened are the values that somebody might make of what is stored: each check of
// each token, in every spelling that fits into the place of a secret.
func opened(t *testing.T, store apitoken.Store) (values []string) {
	t.Helper()
	recs, err := store.List(context.WithoutCancel(t.Context()), apitoken.StoreQuery{AnyTenant: true, AllKinds: true, Now: time.Now(), Limit: 1000})
	require.NoError(t, err)
	require.NotEmpty(t, recs)
	for _, rec := range recs {
		for _, slot := range []apitoken.Slot{rec.Primary, rec.Previous, rec.Legacy} {
			for _, text := range []string{
				hex.EncodeToString(slot.Blob), base64.RawURLEncoding.EncodeToString(slot.Blob), base64.StdEncoding.EncodeToString(slot.Blob), string(slot.Blob), rec.Op + rec.Op,
			} {
				values = append(values, text)
				if len(text) < 43 {
					continue
				}
				body := string(rec.Token.ID) + text[:43]
				for _, sum := range []string{rec.Op[:6], base62(crc32.ChecksumIEEE([]byte(rec.Primary.Prefix + "_" + body))), base62(crc32.ChecksumIEEE([]byte(body)))} {
					values = append(values, rec.Primary.Prefix+"_"+body+sum)
				}
			}
		}
	}
	return values
}

// base62 is a checksum as token strings spell it.
func base62(n uint32) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	var out [6]byte
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = digits[n%62]
		n /= 62
	}
	return string(out[:])
}
