package apitoken_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

// S3.17-S3.20: a pair is converted with nothing to do for its client, has the
// user's permissions, live and not shown, and ends at once and for good when the
// value is renewed; a generated value goes on with its overlap.
func TestImportedPair(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{strong, weak} {
		w := newImportWorld(t)
		out := w.importOne(apitoken.ImportRow{ID: "1", Format: "pair", PairID: pairID, Secret: apitoken.NewSecret(secret), Owner: "ann", NewValue: true})
		require.False(t, out.Secret.IsZero()) // S3.19
		require.NoError(t, w.verify(out.Secret, "devices:view"))
		again := w.importOne(apitoken.ImportRow{ID: "1", Format: "pair", PairID: pairID, Secret: apitoken.NewSecret(secret), Owner: "ann", NewValue: true})
		require.Equal(t, apitoken.ImportedBefore, again.Outcome)
		require.True(t, again.Secret.IsZero(), "a value is shown once")
		require.NoError(t, w.verify(out.Secret))

		p, err := w.present(pairID, secret)
		require.NoError(t, err)
		require.True(t, p.Can("scripts:run"))
		w.Owners.SetPermissions("acme", "ann", viewer)
		p, err = w.present(pairID, secret)
		require.NoError(t, err)
		require.Equal(t, []string{"devices:view"}, p.Permissions().Names()) // S3.20
		require.Empty(t, w.get(out.Token).Grant.Permissions)
		_, err = w.Service.Edit(t.Context(), ann, out.Token, apitoken.EditRequest{Permissions: &[]string{"devices:view"}})
		require.Error(t, err)

		_, err = w.present(pairID, secret+"x")
		require.ErrorIs(t, err, apitoken.ErrWrongSecret)
		_, err = w.present(strings.ToUpper(pairID), secret)
		require.ErrorIs(t, err, apitoken.ErrUnknownToken)

		w.Owners.SetPermissions("acme", "ann", everything)
		second := w.rotate(ann, out.Token, day) // S3.18
		for range 2 {
			_, err = w.present(pairID, secret)
			require.ErrorIs(t, err, apitoken.ErrLegacyEnded)
			_, err = w.Service.Recheck(t.Context(), p)
			require.ErrorIs(t, err, apitoken.ErrLegacyEnded)
			again := w.importOne(apitoken.ImportRow{ID: "1", Format: "pair", PairID: pairID, Secret: apitoken.NewSecret(secret), Owner: "ann"})
			require.Equal(t, apitoken.ImportedBefore, again.Outcome, "an import does not bind the pair again")
		}
		require.NoError(t, w.verify(out.Secret), "the generated value has its overlap")
		require.NoError(t, w.verify(second.Secret))
	}
}

// A single key carries every rule of its kind, and becomes a token of the new
// format when it is rotated: one write ends the old way, with no overlap.
func TestImportedKey(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t, func(o *apitoken.Options) { o.Limits = map[string]apitoken.Limit{"api": {Quota: 2, Window: time.Hour}} })
	id := w.importOne(row(func(r *apitoken.ImportRow) {
		r.Networks, r.ExpiresAt, r.Share = []string{"192.0.2.0/24"}, w.Clock.Now().Add(day), 50
	})).Token
	from := w.stored(id).Token.Networks[0].Addr()
	ask := func(change func(*apitoken.VerifyRequest)) error {
		req := apitoken.VerifyRequest{Token: oldKey, Address: from, Need: worldCatalog.MustRequire("devices:view")}
		change(&req)
		_, err := w.Service.Verify(t.Context(), req)
		return err
	}
	require.NoError(t, ask(func(*apitoken.VerifyRequest) {}))
	require.ErrorIs(t, ask(func(r *apitoken.VerifyRequest) { r.Address = r.Address.Next().Prev().Prev() }), apitoken.ErrNetwork)
	require.ErrorIs(t, ask(func(r *apitoken.VerifyRequest) { r.Need = worldCatalog.MustRequire("reports:view") }), apitoken.ErrForbidden)
	require.ErrorIs(t, ask(func(r *apitoken.VerifyRequest) { r.Use = "deploy" }), apitoken.ErrForbidden)
	require.ErrorIs(t, ask(func(r *apitoken.VerifyRequest) { r.LegacyID = "x" }), apitoken.ErrTwoCredentials)
	require.NoError(t, ask(func(r *apitoken.VerifyRequest) { r.Limit = "api" }))
	require.ErrorIs(t, ask(func(r *apitoken.VerifyRequest) { r.Limit = "api" }), apitoken.ErrRateLimited)
	w.Owners.SetActive("acme", "ann", false)
	require.ErrorIs(t, ask(func(*apitoken.VerifyRequest) {}), apitoken.ErrOwnerInactive)
	w.Owners.SetActive("acme", "ann", true)

	v := must(w.Service.FindBySecret(t.Context(), ann, oldKey))
	require.Equal(t, id, v.ID)
	require.Equal(t, w.Clock.Now(), v.Usage.Legacy)
	require.EqualValues(t, 3, v.Usage.Uses, "a use that lacked a permission counts")
	_, err := w.Service.FindBySecret(t.Context(), zoe, oldKey)
	require.ErrorIs(t, err, apitoken.ErrNotFound)
	x := must(w.Service.Explain(t.Context(), ann, apitoken.ExplainRequest{Verify: apitoken.VerifyRequest{Token: oldKey, Address: from}}))
	require.True(t, x.Accepted)

	issued := w.rotate(ann, id, day) // S3.18
	require.Equal(t, []apitoken.EventType{apitoken.EventImported, apitoken.EventRotated}, eventTypes(w.events(id)))
	require.Equal(t, id, issued.Token.ID)
	require.True(t, strings.HasPrefix(issued.Secret.Reveal(), "acme_"))
	require.ErrorIs(t, ask(func(*apitoken.VerifyRequest) {}), apitoken.ErrLegacyEnded)
	require.Equal(t, id, must(w.Service.FindBySecret(t.Context(), ann, oldKey)).ID, "whose it was can still be told")
	slow := w.importOne(row(func(r *apitoken.ImportRow) {
		r.ID, r.Format, r.Handle, r.Digest = "18", "slow", slowKey[:12], bcryptOf(slowKey)
	})).Token
	require.Equal(t, slow, must(w.Service.FindBySecret(t.Context(), ann, slowKey)).ID)
	w.rotate(ann, slow, 0)
	_, err = w.Service.FindBySecret(t.Context(), ann, slowKey)
	require.ErrorIs(t, err, apitoken.ErrNotFound, "a handle proves nothing")
	require.NoError(t, ask(func(r *apitoken.VerifyRequest) { r.Token = issued.Secret.Reveal() }))
	w.Clock.Advance(day)
	require.ErrorIs(t, ask(func(r *apitoken.VerifyRequest) { r.Token = issued.Secret.Reveal() }), apitoken.ErrExpired)
}

// An older key that leaked is acted upon as a token string is.
func TestLeakOfAnOldKey(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	report := func(actor apitoken.Actor, key string) (apitoken.Leak, error) {
		return w.Service.ReportLeak(t.Context(), actor, apitoken.LeakReport{Value: apitoken.NewSecret(key), Where: "a public repository"})
	}
	_, err := report(ann, oldKey)
	require.ErrorIs(t, err, apitoken.ErrNotFound, "not imported")
	id := w.importOne(row()).Token
	for _, near := range []string{oldKey[:29] + "0", oldKey + "x", "sk_a1b2c3d4_guessguess"} {
		_, err = report(ann, near)
		require.ErrorIs(t, err, apitoken.ErrNotFound)
	}
	_, err = report(zoe, oldKey)
	require.ErrorIs(t, err, apitoken.ErrNotFound)
	ended := w.importOne(row(func(r *apitoken.ImportRow) { r.ID, r.Digest = "18", hexOf256(oldKey[:29]+"9") })).Token
	value := w.rotate(ann, ended, 0)
	_, err = report(ann, oldKey[:29]+"9")
	require.ErrorIs(t, err, apitoken.ErrNotFound, "its token is not stopped for a key that opens nothing")
	require.NoError(t, w.verify(value.Secret))

	leak, err := report(ann, oldKey)
	require.NoError(t, err)
	require.Equal(t, id, leak.Token.ID)
	require.Equal(t, apitoken.StateRevoked, leak.Token.State)
	_, err = w.present("", oldKey)
	require.ErrorIs(t, err, apitoken.ErrRevoked)
}

// Taking a format out of the options switches all its keys off.
func TestFormatNoLongerConfigured(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	w.importOne(row())
	w.importOne(apitoken.ImportRow{ID: "1", Format: "pair", PairID: pairID, Secret: apitoken.NewSecret(strong), Owner: "ann"})
	w.Options.Legacy = w.Options.Legacy[1:2]
	node := w.Node()
	_, err := node.Verify(t.Context(), apitoken.VerifyRequest{Token: oldKey})
	require.ErrorIs(t, err, apitoken.ErrMalformedToken)
	_, err = node.Verify(t.Context(), apitoken.VerifyRequest{LegacyID: pairID, LegacySecret: strong})
	require.ErrorIs(t, err, apitoken.ErrWrongSecret)
}

// What a newer version may have stored matches nothing, and costs nothing.
func TestUnknownAlgorithmOfAnOldKey(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	id := w.importOne(row()).Token
	for _, slot := range []apitoken.Slot{
		{Algorithm: "scrypt", Prefix: "old", Blob: w.stored(id).Legacy.Blob},
		{Algorithm: "bcrypt", Prefix: "old", Blob: []byte("$2b$31$" + strings.Repeat("a", 53))},
		{Algorithm: "argon2id", Prefix: "old", Blob: []byte("$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$c3Vtc3Vtc3Vtc3Vt")},
		{Algorithm: "sha256-raw", Prefix: "old"},
		{Algorithm: "sha512-raw", Prefix: "old", Blob: w.stored(id).Legacy.Blob},
		{Algorithm: "sha256-raw", Prefix: "old512", Blob: w.stored(id).Legacy.Blob},
	} {
		rec := w.stored(id)
		rec.Token.Version++
		rec.Legacy = slot
		require.NoError(t, w.Store.Unwrap().Swap(t.Context(), rec, apitoken.Guard{}, nil))
		_, err := w.present("", oldKey)
		require.ErrorIs(t, err, apitoken.ErrWrongSecret, slot.Algorithm)
		_, err = w.Service.FindBySecret(t.Context(), ann, oldKey)
		require.ErrorIs(t, err, apitoken.ErrNotFound, slot.Algorithm)
	}
}

// P10: what is stored of one key opens no other row.
func TestOldDigestIsBoundToItsRow(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	mine := w.importOne(row()).Token
	other := w.importOne(row(func(r *apitoken.ImportRow) { r.ID, r.Owner, r.Digest = "18", "bob", hexOf256(oldKey+"x") })).Token
	rec := w.stored(other)
	rec.Token.Version++
	rec.Legacy = w.stored(mine).Legacy
	require.NoError(t, w.Store.Unwrap().Swap(t.Context(), rec, apitoken.Guard{}, nil))
	p, err := w.present("", oldKey)
	require.NoError(t, err)
	require.Equal(t, mine, p.Token)
}

// P8: with formats configured too, what is no token and has no format's shape is
// refused before the store is asked and the clock is read.
func TestDamagedOldKeysAreRefusedUnasked(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	value := w.issue(plain).Secret.Reveal()
	w.importOne(row())
	w.Store.Reset()
	w.Store.On(func(c apitokentest.Call) error {
		t.Errorf("the store was asked: %v", c)
		return nil
	})
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		token := []byte(value)
		switch i := rng.IntN(len(token)); rng.IntN(3) {
		case 0:
			token[i] ^= byte(1 + rng.IntN(255))
		case 1:
			token = slices.Delete(token, i, i+1)
		case 2:
			token = slices.Insert(token, i, byte(rng.IntN(256)))
		}
		_, err := w.present("", string(token))
		require.ErrorIs(t, err, apitoken.ErrMalformedToken)
	}
	for _, key := range []string{
		oldKey[1:], oldKey + "a", oldKey[:29], oldKey[:29] + "A", oldKey[:29] + "\x00", oldKey[:29] + " ", "old_", "sk_", "pin_short", "Old_" + oldKey[4:],
		strings.Repeat("sk_a", 200),
	} {
		_, err := w.present("", key)
		require.ErrorIs(t, err, apitoken.ErrMalformedToken, key)
	}
	for _, secret := range []string{"abc", long(257), "short\x00"} {
		_, err := w.present(pairID, secret)
		require.ErrorIs(t, err, apitoken.ErrMalformedToken, secret)
	}
}

// The faults of formats come with the others of the options, each with what to do.
func TestLegacyOptions(t *testing.T) {
	t.Parallel()
	good := apitoken.LegacyFormat{Name: "old", MinLength: 30, MaxLength: 30}
	for _, c := range []struct {
		name   string
		change func(*apitoken.Options, *apitoken.LegacyFormat)
		want   []string
	}{
		{"good", func(*apitoken.Options, *apitoken.LegacyFormat) {}, nil},
		{"no import key", func(o *apitoken.Options, _ *apitoken.LegacyFormat) { o.ImportKey = apitoken.Secret{} }, []string{"ImportKey"}},
		{"short import key", func(o *apitoken.Options, _ *apitoken.LegacyFormat) { o.ImportKey = apitoken.NewSecret(long(31)) }, []string{"ImportKey"}},
		{"no name", func(_ *apitoken.Options, f *apitoken.LegacyFormat) { f.Name = "" }, []string{"Legacy[0].Name"}},
		{"a name twice", func(o *apitoken.Options, f *apitoken.LegacyFormat) { o.Legacy = append(o.Legacy, *f) }, []string{"Legacy[1].Name"}},
		{"too many", func(o *apitoken.Options, f *apitoken.LegacyFormat) {
			for i := range 16 {
				g := *f
				g.Name = fmt.Sprint(i)
				o.Legacy = append(o.Legacy, g)
			}
		}, []string{"Legacy"}},
		{"unknown kind", func(_ *apitoken.Options, f *apitoken.LegacyFormat) { f.Kind = "odd" }, []string{"Legacy[0].Kind"}},
		{"unknown digest", func(_ *apitoken.Options, f *apitoken.LegacyFormat) { f.Digest = "md5" }, []string{"Legacy[0].Digest"}},
		{"no lengths", func(_ *apitoken.Options, f *apitoken.LegacyFormat) { f.MinLength, f.MaxLength = 0, 0 }, []string{"Legacy[0].Handle", "Legacy[0].MinLength"}},
		{"lengths the wrong way round", func(_ *apitoken.Options, f *apitoken.LegacyFormat) { f.MaxLength = 29 }, []string{"Legacy[0].MinLength"}},
		{"longer than any header", func(_ *apitoken.Options, f *apitoken.LegacyFormat) { f.MaxLength = 513 }, []string{"Legacy[0].MinLength"}},
		{"longer than bcrypt reads", func(_ *apitoken.Options, f *apitoken.LegacyFormat) {
			f.Digest, f.Handle, f.MaxLength = apitoken.LegacyBcrypt, 8, 73
		}, []string{"Legacy[0].MinLength"}},
		{"a pair's secret too long", func(_ *apitoken.Options, f *apitoken.LegacyFormat) { f.Pair, f.MaxLength = true, 257 }, []string{"Legacy[0].MinLength"}},
		{"alphabet beyond ASCII", func(_ *apitoken.Options, f *apitoken.LegacyFormat) { f.Alphabet = "abcä" }, []string{"Legacy[0].Alphabet"}},
		{"slow and nothing to find it by", func(_ *apitoken.Options, f *apitoken.LegacyFormat) { f.Digest = apitoken.LegacyArgon2id }, []string{"Legacy[0].Handle"}},
		{"guessable and nothing to find it by", func(_ *apitoken.Options, f *apitoken.LegacyFormat) { f.Guessable = true }, []string{"Legacy[0].Handle"}},
		{"short and nothing to find it by", func(_ *apitoken.Options, f *apitoken.LegacyFormat) { f.Prefix = "old_prefix_" }, []string{"Legacy[0].Handle"}},
		{"a handle that shows all", func(_ *apitoken.Options, f *apitoken.LegacyFormat) {
			f.Digest, f.Handle = apitoken.LegacyBcrypt, 30
		}, []string{"Legacy[0].Handle"}},
		{"a handle for a fast digest", func(_ *apitoken.Options, f *apitoken.LegacyFormat) {
			f.Digest, f.Handle = apitoken.LegacySHA256, 8
		}, []string{"Legacy[0].Handle"}},
		{"slow hashes", func(o *apitoken.Options, _ *apitoken.LegacyFormat) { o.SlowHashes = -1 }, []string{"SlowHashes"}},
		{"fallback for nothing", func(o *apitoken.Options, _ *apitoken.LegacyFormat) {
			o.Legacy = nil
			o.Fallback = func(context.Context, apitoken.LegacyKey) (apitoken.ImportRow, error) {
				return apitoken.ImportRow{}, nil
			}
		}, []string{"Fallback"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := good
			o := apitoken.Options{ImportKey: importKey, Legacy: []apitoken.LegacyFormat{good}}
			c.change(&o, &f)
			if len(o.Legacy) > 0 {
				o.Legacy[0] = f
			}
			_, err := apitoken.New(newWorld(t).Store, o)
			require.Equal(t, c.want, wrongFields(err))
		})
	}
}

// oldTable is a host's old table, and the nodes that still use it.
type oldTable struct {
	mu    sync.Mutex
	rows  map[string]apitoken.ImportRow // by digest, or by a pair's ID
	asked int
	err   error
}

func (o *oldTable) find(ctx context.Context, key apitoken.LegacyKey) (apitoken.ImportRow, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	if o.err != nil {
		return apitoken.ImportRow{}, o.err
	}
	by := key.ID
	switch {
	case by != "":
	case key.Handle != "":
		by = key.Handle
	default:
		by = hexOf256(key.Secret.Reveal()).Reveal()
	}
	if r, ok := o.rows[by]; ok {
		return r, nil
	}
	return apitoken.ImportRow{}, apitoken.ErrNotFound
}

// accepts is what the host's own code did so far.
func (o *oldTable) accepts(key string) bool {
	r, err := o.find(context.Background(), apitoken.LegacyKey{Secret: apitoken.NewSecret(key)})
	return err == nil && r.Status != apitoken.StatusRevoked
}

func newOldTable(rows ...apitoken.ImportRow) *oldTable {
	o := &oldTable{rows: make(map[string]apitoken.ImportRow)}
	for _, r := range rows {
		r.Tenant = "acme"
		o.rows[r.PairID+r.Handle+r.Digest.Reveal()] = r
	}
	return o
}

// S3.17: during a rolling deploy old nodes and new ones serve the same keys; the
// first use on a new node imports, no key fails on any node, and an import of the
// whole table afterwards finds the rest.
func TestRollingDeploy(t *testing.T) {
	t.Parallel()
	var rows []apitoken.ImportRow
	var keys []string
	for i := range 20 {
		keys = append(keys, fmt.Sprintf("old_%026d", i))
		rows = append(rows, row(func(r *apitoken.ImportRow) { r.ID, r.Digest = fmt.Sprint(i), hexOf256(keys[i]) }))
	}
	old := newOldTable(rows...)
	w := newImportWorld(t, func(o *apitoken.Options) { o.Fallback = old.find })
	first := w.Service
	second := w.Node()
	w.Options.Fallback = nil
	without := w.Node() // a new node that has no access to the old table
	verify := func(s *apitoken.Service, key string) (apitoken.Principal, error) {
		return s.Verify(context.Background(), apitoken.VerifyRequest{Token: key, Need: worldCatalog.MustRequire("devices:view")})
	}
	_, err := verify(without, keys[0])
	require.ErrorIs(t, err, apitoken.ErrUnknownToken)
	require.Empty(t, w.dumpOfTokens(), "looking imports nothing")

	// The same first use on two nodes at once, many times over.
	var wg sync.WaitGroup
	for _, key := range keys[:10] {
		for _, node := range []*apitoken.Service{first, second, first, second} {
			wg.Go(func() {
				p, err := verify(node, key)
				if err != nil || p.Owner != "ann" || !old.accepts(key) {
					t.Errorf("%s: %v", key, err)
				}
			})
		}
	}
	wg.Wait()
	require.Len(t, w.dumpOfTokens(), 10, "one token for each row")
	_, err = verify(without, keys[0])
	require.NoError(t, err, "imported once, known everywhere")
	asked := old.asked
	must(verify(first, keys[0]))
	require.Equal(t, asked, old.asked, "and the old table is not asked again")

	// An old node revokes one, the console of the new version another.
	gone := rows[1]
	gone.Status, gone.Tenant = apitoken.StatusRevoked, "acme"
	old.rows[gone.Digest.Reveal()], rows[1] = gone, gone
	mine := must(verify(first, keys[2])).Token
	require.NoError(t, first.Delete(t.Context(), ann, mine, ""))
	_, err = verify(second, keys[2])
	require.ErrorIs(t, err, apitoken.ErrUnknownToken, "a deleted token does not come back by its use")

	report, err := first.Import(t.Context(), system, rowsOf(rows...), nil)
	require.NoError(t, err)
	require.Equal(t, apitoken.ImportReport{Rows: 20, New: 10, Before: 8, Stopped: 1, Deleted: 1}, report)
	for i, key := range keys {
		_, err := verify(without, key)
		if i == 1 || i == 2 {
			require.ErrorIs(t, err, apitoken.ErrUnauthenticated)
			continue
		}
		require.NoError(t, err)
	}
	require.Zero(t, must(first.Status(t.Context())).OutboxEvents-1, "of all that only the deletion is told")

	// Rollback: the old table was never written to, so the old code still works.
	require.True(t, old.accepts(keys[5]))
}

func (w *world) dumpOfTokens() []*apitoken.Record {
	recs, err := w.Store.Unwrap().List(context.Background(), apitoken.StoreQuery{AnyTenant: true, AllKinds: true, Limit: 1000})
	require.NoError(w.t, err)
	return recs
}

// Of the fallback's answers only a row that matches the key makes a token; what
// fails is an outage, never a 401, and never a way in.
func TestFallback(t *testing.T) {
	t.Parallel()
	good := row(func(r *apitoken.ImportRow) { r.Tenant = "acme" })
	slow := func(r *apitoken.ImportRow) {
		r.Format, r.Handle, r.Digest = "slow", slowKey[:12], bcryptOf(slowKey)
	}
	for _, c := range []struct {
		name string
		key  string
		row  apitoken.ImportRow
		err  error
		want error
	}{
		{"a row", oldKey, good, nil, nil},
		{"a row by its handle", slowKey, row(func(r *apitoken.ImportRow) { r.Tenant = "acme" }, slow), nil, nil},
		{"no row", oldKey, apitoken.ImportRow{}, apitoken.ErrNotFound, apitoken.ErrUnknownToken},
		{"no row, wrapped", oldKey, apitoken.ImportRow{}, fmt.Errorf("old table: %w", apitoken.ErrNotFound), apitoken.ErrUnknownToken},
		{"an outage", oldKey, apitoken.ImportRow{}, errors.New("down"), apitoken.ErrUnavailable},
		{"an outage that claims a refusal", oldKey, apitoken.ImportRow{}, apitoken.ErrForbidden, apitoken.ErrUnavailable},
		{"a row of nobody", oldKey, row(), nil, apitoken.ErrUnavailable},
		{"an empty row", oldKey, apitoken.ImportRow{}, nil, apitoken.ErrUnavailable},
		{"another key's row", oldKey, row(func(r *apitoken.ImportRow) { r.Tenant, r.Digest = "acme", hexOf256("another") }), nil, apitoken.ErrUnavailable},
		{"a guess at a slow key", slowKey[:12] + "guessguess", row(func(r *apitoken.ImportRow) { r.Tenant = "acme" }, slow), nil, apitoken.ErrWrongSecret},
		{"a revoked row", oldKey, row(func(r *apitoken.ImportRow) { r.Tenant, r.Status = "acme", apitoken.StatusRevoked }), nil, apitoken.ErrRevoked},
		{"an expired row", oldKey, row(func(r *apitoken.ImportRow) { r.Tenant, r.ExpiresAt = "acme", time.Unix(1, 0) }), nil, apitoken.ErrExpired},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newImportWorld(t, func(o *apitoken.Options) {
				o.Fallback = func(_ context.Context, key apitoken.LegacyKey) (apitoken.ImportRow, error) {
					if key.Secret.Reveal() != c.key {
						return apitoken.ImportRow{}, errors.New("another key was asked for")
					}
					return c.row, c.err
				}
			})
			for range 2 {
				p, err := w.present("", c.key)
				if c.want == nil {
					require.NoError(t, err)
					require.Equal(t, apitoken.SchemeLegacy, p.Scheme)
					continue
				}
				oneFamily(t, err, c.want)
				require.NotContains(t, err.Error(), c.key)
				require.Zero(t, p)
			}
			made := c.want == nil || errors.Is(c.want, apitoken.ErrRevoked) || errors.Is(c.want, apitoken.ErrExpired)
			require.Equal(t, made, len(w.dumpOfTokens()) == 1)
			if made {
				require.Len(t, w.events(w.dumpOfTokens()[0].Token.ID), 1)
			}
		})
	}

	// A row that was imported with another key.
	reused := row(func(r *apitoken.ImportRow) { r.Digest = hexOf256(oldKey[:29] + "0") })
	w := newImportWorld(t, func(o *apitoken.Options) { o.Fallback = newOldTable(reused).find })
	w.importOne(row())
	_, err := w.present("", oldKey[:29]+"0")
	oneFamily(t, err, apitoken.ErrUnavailable)

	// Explain and FindBySecret only look.
	old := newOldTable(row())
	w = newImportWorld(t, func(o *apitoken.Options) { o.Fallback = old.find })
	_, err = w.Service.FindBySecret(t.Context(), ann, oldKey)
	require.ErrorIs(t, err, apitoken.ErrNotFound)
	_, err = w.Service.Explain(t.Context(), ann, apitoken.ExplainRequest{Verify: apitoken.VerifyRequest{Token: oldKey}})
	require.ErrorIs(t, err, apitoken.ErrNotFound)
	require.Zero(t, old.asked)

	// P4: every call of the store may fail at the first use, and the next use works.
	for n := 1; ; n++ {
		w := newImportWorld(t, func(o *apitoken.Options) { o.Fallback = newOldTable(row()).find })
		w.Store.FailCall(n)
		_, err := w.present("", oldKey)
		calls := len(w.Store.Calls())
		w.Store.Reset()
		if n > calls {
			require.NoError(t, err)
			break
		}
		oneFamily(t, err, apitoken.ErrUnavailable)
		_, err = w.present("", oldKey)
		require.NoError(t, err)
	}
}

// A pair is imported at its first use too, weak or strong, and a guess at one makes
// nothing.
func TestFallbackForPairs(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{strong, weak} {
		old := newOldTable(apitoken.ImportRow{ID: "1", PairID: pairID, Secret: apitoken.NewSecret(secret), Owner: "ann"})
		w := newImportWorld(t, func(o *apitoken.Options) { o.Legacy, o.Fallback = o.Legacy[6:7], old.find })
		_, err := w.present(pairID, secret+"x")
		require.ErrorIs(t, err, apitoken.ErrWrongSecret)
		_, err = w.present("another", secret)
		require.ErrorIs(t, err, apitoken.ErrUnknownToken)
		require.Empty(t, w.dumpOfTokens())
		p, err := w.present(pairID, secret)
		require.NoError(t, err)
		require.Equal(t, legacy, p.Kind)
		_, err = w.present(pairID, secret)
		require.NoError(t, err)
		require.Equal(t, 3, old.asked)
	}
}

// S3.18: the older credential's last use is kept apart, and says when the old way
// can be closed.
func TestReadyToCutOver(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	start := w.Clock.Now()
	w.issue(plain)
	ready := func(actor apitoken.Actor, since time.Time) apitoken.CutOver {
		return must(w.Service.ReadyToCutOver(t.Context(), actor, since))
	}
	require.Equal(t, apitoken.CutOver{Ready: true}, ready(ann, time.Time{}))
	var ids []apitoken.ID
	for i := range 3 {
		key := fmt.Sprintf("old_%026d", i)
		ids = append(ids, w.importOne(row(func(r *apitoken.ImportRow) {
			r.ID, r.Digest, r.LastUsed = fmt.Sprint(i), hexOf256(key), start.Add(-time.Duration(i)*day)
		})).Token)
	}
	require.False(t, ready(ann, time.Time{}).Ready)
	require.Equal(t, 2, ready(ann, start.Add(-day)).Used)
	w.Clock.Advance(day)
	got := ready(ann, start.Add(time.Nanosecond))
	require.Equal(t, apitoken.CutOver{Ready: true, Open: 3}, got)
	must(w.present("", fmt.Sprintf("old_%026d", 1)))
	got = ready(ann, start.Add(time.Nanosecond))
	require.False(t, got.Ready)
	require.Equal(t, []apitoken.ID{ids[1]}, []apitoken.ID{got.Tokens[0].ID}, "with what is not written yet")
	require.True(t, ready(zoe, time.Time{}).Ready, "another tenant's are not seen")
	value := w.rotate(ann, ids[1], 0)
	require.NoError(t, w.verify(value.Secret))
	require.Equal(t, apitoken.CutOver{Ready: true, Open: 2}, ready(ann, start.Add(time.Nanosecond)))
	require.Equal(t, start.Add(day), w.get(ids[1]).Usage.Legacy)
	w.Store.FailCall(0)
	_, err := w.Service.ReadyToCutOver(t.Context(), ann, start)
	oneFamily(t, err, apitoken.ErrUnavailable)
}

// More tokens than one page of the store's.
func TestReadyToCutOverPages(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	var rows []apitoken.ImportRow
	for i := range 1203 {
		rows = append(rows, row(func(r *apitoken.ImportRow) {
			r.ID, r.Digest, r.LastUsed = fmt.Sprint(i), hexOf256(fmt.Sprint(i)), w.Clock.Now()
		}))
	}
	w.imports(rows...)
	got := must(w.Service.ReadyToCutOver(t.Context(), ann, w.Clock.Now()))
	require.Equal(t, 1203, got.Used)
	require.Len(t, got.Tokens, 1000)
}

// Slow hashes are computed only so many at once; some requests wait, the rest is
// refused, and a wait ends with its context. Nobody who knows no ID or handle
// makes the server compute one.
func TestSlowHashesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newImportWorld(t, func(o *apitoken.Options) { o.SlowHashes = 1 })
		w.importOne(row(func(r *apitoken.ImportRow) {
			r.Format, r.Handle, r.Digest = "slow", slowKey[:12], bcryptOf(slowKey)
		}))
		release := w.Service.HoldSlowHash()
		for _, unknown := range []string{"sk_z9z9z9z9_secretsecret", oldKey} {
			_, err := w.present("", unknown)
			require.ErrorIs(t, err, apitoken.ErrUnknownToken, "is refused without a place")
		}
		ended, cancel := context.WithCancel(t.Context())
		answers := make(chan error, 17)
		ask := func(ctx context.Context) {
			_, err := w.Service.Verify(ctx, apitoken.VerifyRequest{Token: slowKey})
			answers <- err
		}
		go ask(ended)
		for range 15 {
			go ask(t.Context())
		}
		synctest.Wait()
		_, err := w.present("", slowKey)
		oneFamily(t, err, apitoken.ErrUnavailable)
		require.NotContains(t, err.Error(), "sk_")
		_, err = w.Service.Explain(t.Context(), ann, apitoken.ExplainRequest{Verify: apitoken.VerifyRequest{Token: slowKey}})
		oneFamily(t, err, apitoken.ErrUnavailable)
		cancel()
		synctest.Wait()
		oneFamily(t, <-answers, apitoken.ErrUnavailable)
		release()
		for range 15 {
			require.NoError(t, <-answers)
		}
		release = w.Service.HoldSlowHash()
		for range 16 {
			go ask(t.Context())
		}
		synctest.Wait()
		require.Empty(t, answers, "those who waited before left their places in the queue")
		release()
		for range 16 {
			require.NoError(t, <-answers)
		}
		_, err = w.Service.Verify(ended, apitoken.VerifyRequest{Token: slowKey})
		oneFamily(t, err, apitoken.ErrUnavailable)
	})
}

// P9: an import shows values once and repeats neither keys nor hashes: not in the
// store, the log, an event, an error, a report or anything printed.
func TestImportLeaksNothing(t *testing.T) {
	t.Parallel()
	var out lockedBuffer
	old := newOldTable()
	w := newImportWorld(t, func(o *apitoken.Options) {
		o.Logger = slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		o.Fallback = old.find
	})
	var canaries []string
	show := func(v ...any) {
		for _, x := range v {
			fmt.Fprintf(&out, "%v %+v %#v %s\n", x, x, x, x)
			w.Options.Logger.Debug("debug", "value", x)
		}
	}
	canaries = append(canaries, importKey.Reveal())
	for i := range 40 {
		key, pair := fmt.Sprintf("old_%026d", 7_000_000+i), fmt.Sprintf("pair secret canary %d", 8_000_000+i)
		digest := hexOf256(key)
		canaries = append(canaries, key, pair, digest.Reveal())
		rows := []apitoken.ImportRow{
			row(func(r *apitoken.ImportRow) { r.ID, r.Digest, r.NewValue = fmt.Sprint(i), digest, true }),
			{ID: fmt.Sprint(i), Format: "pair", PairID: fmt.Sprint("pair-", i), Secret: apitoken.NewSecret(pair), Owner: "ann", NewValue: true},
			row(func(r *apitoken.ImportRow) { r.ID, r.Digest, r.Format = "bad", digest, "old512" }),
			row(func(r *apitoken.ImportRow) { r.ID, r.Secret, r.Format = "bad", apitoken.NewSecret(key), "pin" }),
			row(func(r *apitoken.ImportRow) { r.ID, r.Digest, r.Format = "bad", apitoken.NewSecret(key), "slow" }),
			row(func(r *apitoken.ImportRow) { r.ID, r.Digest = "other", digest }),
		}
		show(rows, &rows[0])
		report, err := w.Service.Import(t.Context(), system, rowsOf(rows...), func(im apitoken.Imported) error {
			show(im, im.Err)
			if !im.Secret.IsZero() {
				value := im.Secret.Reveal()
				canaries = append(canaries, value[len(value)-49:len(value)-6])
			}
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, 2, report.New)
		show(report, report.Faults)
		for _, near := range []string{key, key + "x", key[:29] + "z"} {
			p, err := w.present("", near)
			show(p, err)
			show(w.Service.FindBySecret(t.Context(), ann, near))
			show(apitoken.LegacyKey{Format: "old", Secret: apitoken.NewSecret(near)})
			p, err = w.present(fmt.Sprint("pair-", i), pair+near[29:])
			show(p, err)
		}
		old.err = errors.New("down")
		_, err = w.present("", key[:29]+"y")
		show(err)
		old.err = nil
	}
	require.Len(t, canaries, 1+40*5)
	show(w.Service, w.Options)
	text := out.b.String() + w.dump()
	require.Contains(t, text, "token.imported")
	for _, canary := range canaries {
		require.NotContains(t, text, canary)
		require.NotContains(t, text, hex.EncodeToString([]byte(canary)))
	}
}
