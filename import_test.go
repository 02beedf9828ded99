package apitoken_test

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

var importKey = apitoken.NewSecret("an import key of 32 random bytes")

// The older keys of the tests: two sorts of single keys and pairs of every sort.
const (
	oldKey   = "old_0123456789abcdefghijklmnop"
	slowKey  = "sk_a1b2c3d4_secretsecret"
	shortKey = "pin_ann7_4711"
	pairID   = "5f1c2f0a-8a34-4d7e-9c53-3f4f7c0b7a11"
	strong   = "a secret key of 36 bytes, in a pair."
	weak     = "hunter2"
)

var oldFormats = []apitoken.LegacyFormat{
	{Name: "old", Prefix: "old_", MinLength: 30, MaxLength: 30, Alphabet: "0123456789abcdefghijklmnopqrstuvwxyz", Digest: apitoken.LegacySHA256},
	{Name: "old512", Prefix: "big_", MinLength: 30, MaxLength: 40, Digest: apitoken.LegacySHA512},
	{Name: "oldplain", Prefix: "raw_", MinLength: 30, MaxLength: 40},
	{Name: "slow", Prefix: "sk_", MinLength: 20, MaxLength: 40, Handle: 12, Digest: apitoken.LegacyBcrypt},
	{Name: "slowargon", Prefix: "ak_", MinLength: 20, MaxLength: 40, Handle: 12, Digest: apitoken.LegacyArgon2id},
	{Name: "pin", Prefix: "pin_", MinLength: 12, MaxLength: 20, Handle: 8},
	{Name: "pair", Pair: true, Kind: legacy, MinLength: 4, MaxLength: 64, Alphabet: " ,." + lettersAndDigits},
	{Name: "pair256", Pair: true, Kind: legacy, MinLength: 4, MaxLength: 64, Digest: apitoken.LegacySHA256},
	{Name: "pairbcrypt", Pair: true, Kind: legacy, MinLength: 4, MaxLength: 64, Digest: apitoken.LegacyBcrypt},
}

const lettersAndDigits = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

func newImportWorld(t *testing.T, tweak ...func(*apitoken.Options)) *world {
	t.Helper()
	return newWorld(t, append([]func(*apitoken.Options){func(o *apitoken.Options) {
		o.Legacy, o.ImportKey = slices.Clone(oldFormats), importKey
	}}, tweak...)...)
}

func hexOf256(key string) apitoken.Secret {
	sum := sha256.Sum256([]byte(key))
	return apitoken.NewSecret(hex.EncodeToString(sum[:]))
}

func base64Of256(enc *base64.Encoding, key string) apitoken.Secret {
	sum := sha256.Sum256([]byte(key))
	return apitoken.NewSecret(enc.EncodeToString(sum[:]))
}

func sum512(key string) []byte {
	sum := sha512.Sum512([]byte(key))
	return sum[:]
}

func bcryptOf(key string) apitoken.Secret {
	return apitoken.NewSecret(string(must(bcrypt.GenerateFromPassword([]byte(key), bcrypt.MinCost))))
}

// row is a good row of the format 'old'.
func row(change ...func(*apitoken.ImportRow)) apitoken.ImportRow {
	r := apitoken.ImportRow{ID: "17", Format: "old", Owner: "ann", Name: "ci", Permissions: []string{"devices:view"}, Digest: hexOf256(oldKey)}
	for _, f := range change {
		f(&r)
	}
	return r
}

func rowsOf(rows ...apitoken.ImportRow) iter.Seq2[apitoken.ImportRow, error] {
	return func(yield func(apitoken.ImportRow, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// imports imports rows as the system of acme and returns what became of each.
func (w *world) imports(rows ...apitoken.ImportRow) []apitoken.Imported {
	w.t.Helper()
	var out []apitoken.Imported
	_, err := w.Service.Import(w.t.Context(), system, rowsOf(rows...), func(i apitoken.Imported) error {
		out = append(out, i)
		return nil
	})
	require.NoError(w.t, err)
	require.Len(w.t, out, len(rows))
	return out
}

func (w *world) importOne(r apitoken.ImportRow) apitoken.Imported {
	w.t.Helper()
	out := w.imports(r)[0]
	require.NoError(w.t, out.Err)
	return out
}

// present verifies an older key, or with an ID a pair.
func (w *world) present(id, key string) (apitoken.Principal, error) {
	req := apitoken.VerifyRequest{Token: key}
	if id != "" {
		req = apitoken.VerifyRequest{LegacyID: id, LegacySecret: key}
	}
	return w.Service.Verify(w.t.Context(), req)
}

// Created, expires, last use, uses and status are kept, to the microsecond; what is
// stopped stays so, and nobody is told.
func TestImportKeeps(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	now := w.Clock.Now()
	created, used := now.Add(-400*day-3*time.Microsecond), now.Add(-2*day)
	base := func(id string, change func(*apitoken.ImportRow)) apitoken.ImportRow {
		return row(func(r *apitoken.ImportRow) {
			r.ID, r.Digest = id, hexOf256(id)
			r.CreatedAt, r.LastUsed, r.Uses = created, used, 12345
			change(r)
		})
	}
	for _, c := range []struct {
		name   string
		change func(*apitoken.ImportRow)
		status apitoken.Status
		cause  apitoken.Cause
	}{
		{"active", func(*apitoken.ImportRow) {}, apitoken.StatusActive, ""},
		{"expires", func(r *apitoken.ImportRow) { r.ExpiresAt = now.Add(time.Hour) }, apitoken.StatusActive, ""},
		{"expired, locked", func(r *apitoken.ImportRow) { r.ExpiresAt = now }, apitoken.StatusExpired, ""},
		{"expired, disabled", func(r *apitoken.ImportRow) { r.ExpiresAt, r.Kind = now.Add(-30*day), personal }, apitoken.StatusDisabled, apitoken.CauseExpired},
		{"disabled", func(r *apitoken.ImportRow) { r.Status, r.Reason, r.Kind = apitoken.StatusDisabled, "lost", personal }, apitoken.StatusDisabled, apitoken.CauseByHand},
		{"revoked", func(r *apitoken.ImportRow) { r.Status, r.Reason = apitoken.StatusRevoked, "leaked" }, apitoken.StatusRevoked, apitoken.CauseByHand},
		{"unused for too long", func(r *apitoken.ImportRow) {
			r.Kind, r.Permissions, r.LastUsed = user, nil, now.Add(-31*day)
		}, apitoken.StatusRevoked, apitoken.CauseIdle},
		{"used in time", func(r *apitoken.ImportRow) { r.Kind, r.Permissions, r.LastUsed = user, nil, now.Add(-29*day) }, apitoken.StatusActive, ""},
	} {
		r := base(c.name, c.change)
		out := w.importOne(r)
		require.Equal(t, c.status, out.Status, c.name)
		v := w.get(out.Token)
		require.Equal(t, c.status, v.Status, c.name)
		require.Equal(t, c.cause, v.Cause, c.name)
		require.Equal(t, r.Reason, v.Reason, c.name)
		require.Equal(t, r.CreatedAt.Truncate(time.Microsecond), v.CreatedAt, c.name)
		require.True(t, r.ExpiresAt.Equal(v.ExpiresAt), c.name)
		require.Equal(t, apitoken.Usage{Uses: 12345, LastUsed: r.LastUsed, Legacy: r.LastUsed}, v.Usage, c.name)
		require.Equal(t, "old_…", v.Hint, "nothing of the key is shown")
	}
	w.sweep()
	require.Zero(t, must(w.Service.Status(t.Context())).OutboxEvents)
	require.Zero(t, must(w.Service.Deliver(t.Context())))
	require.Empty(t, w.Notifier.Told(), "no mail")
	w.Clock.Advance(6 * day)
	w.sweep()
	require.Len(t, must(w.Service.List(t.Context(), ann, apitoken.ListQuery{})).Tokens, 8, "the week of what is disabled begins with the import")
	w.Clock.Advance(day)
	require.Len(t, must(w.Service.List(t.Context(), ann, apitoken.ListQuery{})).Tokens, 6)
}

// What rows say that cannot be true is put right; what two things stopped keeps
// the one that is final; a pair that people chose is hashed slowly, however long.
func TestImportEdges(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t, func(o *apitoken.Options) { o.Legacy[6].Guessable = true })
	now := w.Clock.Now()
	n := 0
	imported := func(change func(*apitoken.ImportRow)) *apitoken.Record {
		n++
		return w.stored(w.importOne(row(func(r *apitoken.ImportRow) { r.ID, r.Digest = fmt.Sprint(n), hexOf256(fmt.Sprint(n)) }, change)).Token)
	}
	ahead := imported(func(r *apitoken.ImportRow) { r.CreatedAt, r.LastUsed = now.Add(time.Hour), now.Add(time.Hour) }).Token
	require.Equal(t, now, ahead.CreatedAt)
	require.Equal(t, now, ahead.Usage.LastUsed)
	plainest := imported(func(r *apitoken.ImportRow) { r.Name = "" }).Token
	require.Equal(t, now, plainest.CreatedAt)
	require.Equal(t, "2", plainest.Name)
	require.Equal(t, "ann", plainest.Creator)
	require.True(t, plainest.Resources.All)
	require.Equal(t, "provisioner", imported(func(r *apitoken.ImportRow) { r.Kind, r.Owner = shared, "" }).Token.Creator)
	require.Equal(t, "dan", imported(func(r *apitoken.ImportRow) { r.Creator = "dan" }).Token.Creator)

	midnight := time.Date(2027, time.May, 1, 0, 0, 0, 0, time.UTC)
	whole := imported(func(r *apitoken.ImportRow) { r.Kind, r.ExpiresAt = fixed, midnight }).Token
	require.True(t, whole.WholeDay)
	require.Equal(t, apitoken.Resources{}, whole.Resources, "none, where the row has none")
	part := imported(func(r *apitoken.ImportRow) {
		r.Kind, r.ExpiresAt, r.Resources = fixed, midnight.Add(time.Hour), apitoken.Resources{Groups: []string{"north"}}
	}).Token
	require.False(t, part.WholeDay)
	require.True(t, part.Resources.Has("north"))

	idle := imported(func(r *apitoken.ImportRow) {
		r.Kind, r.Permissions, r.CreatedAt, r.Status = user, nil, now.Add(-60*day), apitoken.StatusDisabled
	}).Token
	require.Equal(t, apitoken.StateRevoked, idle.State, "revoked is final")
	over := imported(func(r *apitoken.ImportRow) { r.Kind, r.ExpiresAt, r.Status = personal, now, apitoken.StatusDisabled }).Token
	require.Equal(t, apitoken.CauseExpired, over.Cause)
	require.Equal(t, now, over.StateAt)

	pair := w.importOne(apitoken.ImportRow{ID: "pair", Format: "pair", PairID: pairID, Secret: apitoken.NewSecret(strong), Owner: "ann"})
	require.Equal(t, "argon2id", w.stored(pair.Token).Legacy.Algorithm)
	_, err := w.present(pairID, strong)
	require.NoError(t, err)
}

// An answer that is lost on the way back, and another node that is faster: the value
// that is shown is the one that was stored, or none.
func TestImportShowsOnlyWhatItStored(t *testing.T) {
	t.Parallel()
	valued := row(func(r *apitoken.ImportRow) { r.NewValue = true })
	w := newImportWorld(t)
	w.Store.On(func(c apitokentest.Call) error {
		if c.Method == "Create" && c.Done {
			return apitokentest.ErrFault
		}
		return nil
	})
	out := w.importOne(valued)
	require.Equal(t, apitoken.ImportedNew, out.Outcome)
	require.NoError(t, w.verify(out.Secret))

	for _, method := range []string{"Events", "Create"} {
		w := newImportWorld(t)
		other := must(apitoken.New(w.Store.Unwrap(), w.Options))
		w.Store.On(func(c apitokentest.Call) error {
			if c.Method == method && !c.Done {
				_, err := other.Import(t.Context(), system, rowsOf(row()), nil)
				return err
			}
			return nil
		})
		out := w.importOne(valued)
		require.Equal(t, apitoken.ImportedBefore, out.Outcome, method)
		require.True(t, out.Secret.IsZero(), method)
		require.Len(t, w.events(out.Token), 1, method)
	}
}

// Each fault is told with the row's ID and field, stops nothing else, and repeats
// no secret.
func TestImportFaults(t *testing.T) {
	t.Parallel()
	const canary = "old_canarycanarycanarycanary00"
	pairRow := func(change func(*apitoken.ImportRow)) func(*apitoken.ImportRow) {
		return func(r *apitoken.ImportRow) {
			r.Format, r.PairID, r.Digest, r.Secret, r.Permissions = "pair", "id", apitoken.Secret{}, apitoken.NewSecret("a canary of a pair"), nil
			change(r)
		}
	}
	slowRow := func(digest string) func(*apitoken.ImportRow) {
		return func(r *apitoken.ImportRow) {
			r.Format, r.Handle, r.Digest = "slowargon", "ak_a1b2c3d4_", apitoken.NewSecret(digest)
		}
	}
	const salt, sum = "Y2FuYXJ5Y2FuYXJ5", "Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2E"
	for _, c := range []struct {
		name  string
		row   func(*apitoken.ImportRow)
		field string
	}{
		{"no row ID", func(r *apitoken.ImportRow) { r.ID = "" }, "id"},
		{"unknown format", func(r *apitoken.ImportRow) { r.Format = "odd" }, "format"},
		{"no format of several", func(r *apitoken.ImportRow) { r.Format = "" }, "format"},
		{"unknown kind", func(r *apitoken.ImportRow) { r.Kind = "odd" }, "kind"},
		{"an agent's", func(r *apitoken.ImportRow) { r.Kind = agent }, "kind"},
		{"another tenant", func(r *apitoken.ImportRow) { r.Tenant = "rival" }, "tenant"},
		{"no owner", func(r *apitoken.ImportRow) { r.Owner = "" }, "owner"},
		{"an owner of what has none", func(r *apitoken.ImportRow) { r.Kind = shared }, "owner"},
		{"deceiving name", func(r *apitoken.ImportRow) { r.Name = "a\u202eb" }, "name"},
		{"bad network", func(r *apitoken.ImportRow) { r.Networks = []string{"10.0.0.1/8"} }, "networks[0]"},
		{"bad origin", func(r *apitoken.ImportRow) { r.Origins = []string{"app"} }, "origins[0]"},
		{"bad share", func(r *apitoken.ImportRow) { r.Share = 101 }, "share"},
		{"permissions left open", func(r *apitoken.ImportRow) { r.Permissions = nil }, "permissions"},
		{"unknown permission", func(r *apitoken.ImportRow) { r.Permissions = []string{"odd"} }, "permissions[0]"},
		{"permission for people", func(r *apitoken.ImportRow) { r.Permissions = []string{"credentials:manage"} }, "permissions[0]"},
		{"beyond the kind", func(r *apitoken.ImportRow) { r.Kind, r.Owner = node, "" }, "permissions[0]"},
		{"permissions of a live kind", func(r *apitoken.ImportRow) { r.Kind = user }, "permissions"},
		{"role and permissions", func(r *apitoken.ImportRow) { r.Role = "analyst" }, "role"},
		{"negative uses", func(r *apitoken.ImportRow) { r.Uses = -1 }, "uses"},
		{"a date of nobody's", func(r *apitoken.ImportRow) { r.CreatedAt = time.Date(1, 2, 3, 0, 0, 0, 0, time.UTC) }, "created_at"},
		{"unknown status", func(r *apitoken.ImportRow) { r.Status = "archived" }, "status"},
		{"an expiry is required", func(r *apitoken.ImportRow) { r.Kind = fixed }, "expires_at"},
		{"no digest", func(r *apitoken.ImportRow) { r.Digest = apitoken.Secret{} }, "digest"},
		{"the key where a digest belongs", func(r *apitoken.ImportRow) { r.Digest = apitoken.NewSecret(canary) }, "digest"},
		{"key and digest", func(r *apitoken.ImportRow) { r.Secret = apitoken.NewSecret(canary) }, "digest"},
		{"digest of another length", func(r *apitoken.ImportRow) { r.Digest = apitoken.NewSecret(hex.EncodeToString(sum512(canary))) }, "digest"},
		{"digest with a line break", func(r *apitoken.ImportRow) {
			r.Digest = apitoken.NewSecret(base64Of256(base64.StdEncoding, canary).Reveal() + "\n")
		}, "digest"},
		{"ID of a pair that is none", func(r *apitoken.ImportRow) { r.PairID = "id" }, "pair_id"},
		{"pair without ID", pairRow(func(r *apitoken.ImportRow) { r.PairID = "" }), "pair_id"},
		{"pair with a long ID", pairRow(func(r *apitoken.ImportRow) { r.PairID = long(129) }), "pair_id"},
		{"pair of the wrong shape", pairRow(func(r *apitoken.ImportRow) { r.Secret = apitoken.NewSecret("a canary\x00") }), "secret"},
		{"slow without handle", func(r *apitoken.ImportRow) { r.Format, r.Digest = "slow", bcryptOf(slowKey) }, "handle"},
		{"slow with a short handle", func(r *apitoken.ImportRow) { r.Format, r.Digest, r.Handle = "slow", bcryptOf(slowKey), "sk_a" }, "handle"},
		{"handle of another key", func(r *apitoken.ImportRow) {
			r.Format, r.Digest, r.Secret, r.Handle = "pin", apitoken.Secret{}, apitoken.NewSecret(shortKey), "pin_bob7"
		}, "handle"},
		{"bcrypt that takes days", func(r *apitoken.ImportRow) {
			r.Format, r.Handle, r.Digest = "slow", slowKey[:12], apitoken.NewSecret("$2b$31$"+strings.Repeat("canary.", 7)+"caca")
		}, "digest"},
		{"argon2id that takes all memory", slowRow("$argon2id$v=19$m=4194304,t=1,p=1$" + salt + "$" + sum), "digest"},
		{"argon2id that takes days", slowRow("$argon2id$v=19$m=65536,t=4096,p=1$" + salt + "$" + sum), "digest"},
		{"argon2i", slowRow("$argon2i$v=19$m=4096,t=3,p=1$" + salt + "$" + sum), "digest"},
		{"a value nobody takes", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newImportWorld(t)
			if c.row == nil {
				report, err := w.Service.Import(t.Context(), system, rowsOf(row(func(r *apitoken.ImportRow) { r.NewValue = true })), nil)
				require.NoError(t, err)
				require.Equal(t, []string{"new_value"}, wrongFields(report.Faults[0]))
				return
			}
			bad := row(func(r *apitoken.ImportRow) { r.ID, r.Digest = "bad", hexOf256(canary) }, c.row)
			var outcomes []apitoken.ImportOutcome
			report, err := w.Service.Import(t.Context(), system, rowsOf(bad, row()), func(i apitoken.Imported) error {
				outcomes = append(outcomes, i.Outcome)
				return nil
			})
			require.NoError(t, err)
			require.Equal(t, []apitoken.ImportOutcome{apitoken.ImportFailed, apitoken.ImportedNew}, outcomes)
			require.Equal(t, 1, report.Failed)
			require.Equal(t, 1, report.New)
			require.Equal(t, bad.ID, report.Faults[0].Row)
			oneFamily(t, report.Faults[0], apitoken.ErrInvalid)
			require.Equal(t, []string{c.field}, wrongFields(report.Faults[0]))
			require.Contains(t, report.Faults[0].Error(), fmt.Sprintf("row %q: %s: ", bad.ID, c.field))
			for _, hidden := range []string{"canary", "Y2FuYXJ5", bad.Digest.Reveal(), bad.Secret.Reveal()} {
				if hidden != "" {
					require.NotContains(t, report.Faults[0].Error(), hidden)
				}
			}
			_, err = w.present("", oldKey)
			require.NoError(t, err)
		})
	}
}

// Only the host's own jobs import, each in its tenant; one actor for all tenants
// has a name that is found.
func TestImportWhoMay(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	for _, actor := range []apitoken.Actor{ann, zoe, {}, {ID: "ann"}} {
		_, err := w.Service.Import(t.Context(), actor, rowsOf(row()), nil)
		require.Error(t, err)
	}
	_, err := newWorld(t).Service.Import(t.Context(), system, rowsOf(row()), nil)
	require.Equal(t, []string{"Legacy"}, wrongFields(err))
	require.NotContains(t, w.dump(), "imported")

	operator := apitoken.DangerouslyCrossTenant("operator")
	report, err := w.Service.Import(t.Context(), operator, rowsOf(
		row(func(r *apitoken.ImportRow) { r.Tenant = "acme" }),
		row(func(r *apitoken.ImportRow) {
			r.ID, r.Tenant, r.Owner, r.Digest = "18", "rival", "zoe", hexOf256("old_rival")
		}),
		row(func(r *apitoken.ImportRow) { r.ID, r.Digest = "19", hexOf256("old_nobody") }),
	), nil)
	require.NoError(t, err)
	require.Equal(t, 2, report.New)
	require.Equal(t, []string{"tenant"}, wrongFields(report.Faults[0]))
	p, err := w.present("", oldKey)
	require.NoError(t, err)
	require.Equal(t, "acme", p.Tenant)
	e := w.events(p.Token)[0]
	require.Equal(t, apitoken.Party{Type: apitoken.PartySystem, ID: "operator"}, e.Actor)
	require.Equal(t, "API Token imported", e.Message)
}

// An import may be interrupted anywhere, repeated, and run in any order: there is
// one token for each row, and what was stopped or deleted here stays so.
func TestImportIsIdempotent(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := newImportWorld(t)
		var rows []apitoken.ImportRow
		keys := make(map[string]string)
		for i := range 12 {
			key := fmt.Sprintf("old_%026d", i)
			r := row(func(r *apitoken.ImportRow) { r.ID, r.Digest = fmt.Sprint("row", i), hexOf256(key) })
			if rng.IntN(5) == 0 {
				r.Status = apitoken.StatusRevoked
			}
			keys[r.ID] = key
			rows = append(rows, r)
		}
		ids := make(map[string]apitoken.ID)
		dead := make(map[string]bool)
		for range 8 {
			batch := append(slices.Clone(rows), rows[rng.IntN(len(rows))])
			rng.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
			switch n := 1 + rng.IntN(60); rng.IntN(3) {
			case 0:
				w.Store.FailCall(n)
			case 1:
				w.Store.LoseAnswer(n)
			}
			_, err := w.Service.Import(t.Context(), system, rowsOf(batch...), func(i apitoken.Imported) error {
				require.NoError(t, i.Err)
				if i.Outcome == apitoken.ImportedNew {
					require.Falsef(t, dead[i.Row], "seed %d: %s came back", seed, i.Row)
				}
				if id, ok := ids[i.Row]; ok && i.Token != "" {
					require.Equal(t, id, i.Token)
				}
				ids[i.Row] = i.Token
				return nil
			})
			w.Store.Reset()
			if err != nil {
				oneFamily(t, err, apitoken.ErrUnavailable)
			}
			victim := rows[rng.IntN(len(rows))].ID
			if id := ids[victim]; id != "" && !dead[victim] {
				if rng.IntN(2) == 0 {
					require.NoError(t, w.Service.Revoke(t.Context(), ann, id, ""))
				} else {
					require.NoError(t, w.Service.Delete(t.Context(), ann, id, ""))
				}
				dead[victim] = true
			}
		}
		w.imports(rows...)
		before := w.dump()
		report, err := w.Service.Import(t.Context(), system, rowsOf(rows...), nil)
		require.NoError(t, err)
		require.Zero(t, report.New+report.Stopped+report.Failed)
		require.Equal(t, before, w.dump(), "seed %d: once more changes nothing", seed)
		for _, r := range rows {
			_, err := w.present("", keys[r.ID])
			if dead[r.ID] || r.Status == apitoken.StatusRevoked {
				require.ErrorIs(t, err, apitoken.ErrUnauthenticated, "seed %d", seed)
			} else {
				require.NoError(t, err, "seed %d", seed)
			}
		}
	}
}

// While old nodes still write to the old table, an import that is repeated takes
// over what they stopped and used, and never what they started.
func TestImportAgain(t *testing.T) {
	t.Parallel()
	const before, stopped = apitoken.ImportedBefore, apitoken.ImportedStopped
	for _, c := range []struct {
		name    string
		first   apitoken.Status
		here    func(w *world, id apitoken.ID) error // what happens here meanwhile
		second  apitoken.Status
		outcome apitoken.ImportOutcome
		want    apitoken.State
	}{
		{"nothing", "", nil, "", before, apitoken.StateActive},
		{"revoked there", "", nil, apitoken.StatusRevoked, stopped, apitoken.StateRevoked},
		{"disabled there", "", nil, apitoken.StatusDisabled, stopped, apitoken.StateDisabled},
		{"disabled, then revoked there", apitoken.StatusDisabled, nil, apitoken.StatusRevoked, stopped, apitoken.StateRevoked},
		{"enabled there", apitoken.StatusDisabled, nil, apitoken.StatusActive, before, apitoken.StateDisabled},
		{"enabled here, disabled there", apitoken.StatusDisabled, func(w *world, id apitoken.ID) error {
			_, err := w.Service.Enable(w.t.Context(), ann, id, apitoken.EnableRequest{})
			return err
		}, apitoken.StatusDisabled, before, apitoken.StateActive},
		{"edited here, revoked there", "", func(w *world, id apitoken.ID) error {
			_, err := w.Service.Edit(w.t.Context(), ann, id, apitoken.EditRequest{Name: ptr("new")})
			return err
		}, apitoken.StatusRevoked, stopped, apitoken.StateRevoked},
		{"revoked here, active there", "", func(w *world, id apitoken.ID) error {
			return w.Service.Revoke(w.t.Context(), ann, id, "")
		}, apitoken.StatusActive, before, apitoken.StateRevoked},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newImportWorld(t)
			r := row(func(r *apitoken.ImportRow) { r.Status, r.LastUsed = c.first, w.Clock.Now().Add(-time.Hour) })
			id := w.importOne(r).Token
			if c.here != nil {
				require.NoError(t, c.here(w, id))
			}
			w.Clock.Advance(time.Hour)
			r.Status, r.LastUsed, r.Reason, r.Name, r.Uses = c.second, w.Clock.Now(), "old console", "other", 99
			out := w.importOne(r)
			require.Equal(t, c.outcome, out.Outcome)
			require.Equal(t, id, out.Token)
			v := w.get(id)
			require.Equal(t, c.want, v.State)
			require.Equal(t, w.Clock.Now(), v.Usage.LastUsed, "the last use moves forwards")
			require.Zero(t, v.Usage.Uses, "and uses are not counted twice")
			require.NotEqual(t, "other", v.Name)
			if c.outcome == stopped {
				require.Equal(t, "old console", v.Reason)
			}
		})
	}
	w := newImportWorld(t)
	w.importOne(row())
	clash := w.imports(
		row(func(r *apitoken.ImportRow) { r.Digest = hexOf256("old_another") }),
		row(func(r *apitoken.ImportRow) { r.ID = "18" }),
		row(func(r *apitoken.ImportRow) { r.Secret = apitoken.Secret{} }),
	)
	require.Equal(t, []string{"id"}, wrongFields(clash[0].Err), "another key under a known row")
	require.Equal(t, []string{"digest"}, wrongFields(clash[1].Err), "a known key under another row")
	require.Equal(t, before, clash[2].Outcome)
}

// A row that another node imports, and whose token it deletes, between this node's
// look at the history and its write stays deleted.
func TestImportBesideDelete(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	other := must(apitoken.New(w.Store.Unwrap(), w.Options))
	w.Store.On(func(c apitokentest.Call) error {
		if c.Method != "Create" || c.Done {
			return nil
		}
		first, err := other.Import(t.Context(), system, rowsOf(row()), nil)
		require.NoError(t, err)
		require.Equal(t, 1, first.New)
		require.NoError(t, other.Delete(t.Context(), ann, other.ImportedID("old", row().ID), ""))
		return nil
	})
	report, err := w.Service.Import(t.Context(), system, rowsOf(row()), nil)
	require.NoError(t, err)
	require.Equal(t, apitoken.ImportReport{Rows: 1, Deleted: 1}, report)
	require.Zero(t, must(w.Service.Counts(t.Context(), ann)).Total)
}

// P4: whichever call of the store fails, the import ends with an outage, and the
// next one makes good; a lost answer makes no second token.
func TestImportOutages(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		for n := 1; ; n++ {
			w := newImportWorld(t)
			w.importOne(row(func(r *apitoken.ImportRow) { r.ID, r.Digest = "first", hexOf256("first") }))
			w.Clock.Advance(time.Hour)
			rows := rowsOf(row(), row(func(r *apitoken.ImportRow) {
				r.ID, r.Digest, r.Status, r.LastUsed = "first", hexOf256("first"), apitoken.StatusRevoked, w.Clock.Now()
			}))
			if lost {
				w.Store.LoseAnswer(n)
			} else {
				w.Store.FailCall(n)
			}
			_, err := w.Service.Import(t.Context(), system, rows, nil)
			calls := len(w.Store.Calls())
			w.Store.Reset()
			if err != nil {
				oneFamily(t, err, apitoken.ErrUnavailable)
			}
			_, err = w.Service.Import(t.Context(), system, rows, nil)
			require.NoError(t, err)
			require.Equal(t, 2, must(w.Service.Counts(t.Context(), ann)).Total)
			require.Len(t, w.events(w.Service.ImportedID("old", "17")), 1)
			require.Len(t, w.events(w.Service.ImportedID("old", "first")), 2)
			if n > calls {
				break
			}
		}
	}
	w := newImportWorld(t)
	broken := errors.New("connection lost")
	report, err := w.Service.Import(t.Context(), system, func(yield func(apitoken.ImportRow, error) bool) {
		_ = yield(apitoken.ImportRow{ID: "16"}, broken) && yield(row(), nil)
	}, nil)
	require.NoError(t, err, "rows that cannot be read are passed over")
	require.ErrorIs(t, report.Faults[0], broken)
	require.Equal(t, "16", report.Faults[0].Row)
	require.Equal(t, 1, report.New)
	enough := errors.New("enough")
	_, err = w.Service.Import(t.Context(), system, rowsOf(row(), row()), func(apitoken.Imported) error { return enough })
	require.Equal(t, enough, err)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = w.Service.Import(ended, system, rowsOf(row()), nil)
	oneFamily(t, err, apitoken.ErrUnavailable)
}
