package apitoken_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

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
