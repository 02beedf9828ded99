package cachestore_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/cachestore"
	"github.com/tokenry/apitoken/internal/hosttx"
)

var catalog = apitoken.MustCatalog([]apitoken.Permission{{Name: "view", API: true}, {Name: "edit", API: true}}, nil)

// people is a cache before a directory that knows ann of acme.
type people struct {
	*cachestore.Owners
	t         *testing.T
	directory *apitokentest.Owners
	clock     *apitokentest.Clock
}

func newPeople(t *testing.T) *people {
	t.Helper()
	p := &people{t: t, directory: new(apitokentest.Owners), clock: apitokentest.NewClock(madeAt)}
	p.directory.Set("acme", "ann", apitoken.Standing{Active: true, Roles: []string{"admin"}})
	var err error
	p.Owners, err = cachestore.NewOwners(p.directory, cachestore.Options{Clock: p.clock})
	require.NoError(t, err)
	return p
}

// active demands an answer of the cache, and says how often the directory was asked.
func (p *people) active(want bool, asked int) {
	p.t.Helper()
	before := p.directory.Calls()
	st, err := p.Standing(p.t.Context(), "acme", "ann")
	require.NoError(p.t, err)
	require.Equal(p.t, want, st.Active)
	require.Equal(p.t, asked, p.directory.Calls()-before)
}

func TestOwnersAreShared(t *testing.T) {
	t.Parallel()
	p := newPeople(t)
	p.active(true, 1)
	p.active(true, 0)
	p.directory.SetActive("acme", "ann", false)
	p.clock.Advance(maxStale - 1)
	p.active(true, 0)
	p.clock.Advance(1)
	p.active(false, 1)
	p.directory.SetActive("acme", "ann", true)
	p.active(false, 0)
	p.Forget("acme", "bob", "ann")
	p.active(true, 1)
	p.directory.SetActive("acme", "ann", false)
	p.ForgetAll()
	p.active(false, 1)
	require.Equal(t, cachestore.Stats{Entries: 1, Hits: 3, Misses: 4, Reads: 4}, p.CacheStats())
}

// Tenants and owners are not run together.
func TestOwnersOfTenants(t *testing.T) {
	t.Parallel()
	p := newPeople(t)
	p.active(true, 1)
	for _, other := range [][2]string{{"acm", "eann"}, {"acmea", "nn"}, {"", "acmeann"}, {"ann", "acme"}, {"Acme", "ann"}, {"acme", "Ann"}} {
		_, err := p.Standing(t.Context(), other[0], other[1])
		require.ErrorIs(t, err, apitoken.ErrNotFound, other)
	}
	p.active(true, 0)
}

// A user who is not known is asked for again a second later; a failure is never kept.
func TestUnknownOwners(t *testing.T) {
	t.Parallel()
	p := newPeople(t)
	ask := func(asked int) error {
		before := p.directory.Calls()
		_, err := p.Standing(t.Context(), "acme", "new")
		require.Equal(t, asked, p.directory.Calls()-before)
		return err
	}
	p.directory.Fail(errOutage)
	require.ErrorIs(t, ask(1), errOutage)
	require.ErrorIs(t, ask(1), errOutage)
	p.directory.Fail(nil)
	require.ErrorIs(t, ask(1), apitoken.ErrNotFound)
	p.directory.Set("acme", "new", apitoken.Standing{Active: true})
	p.clock.Advance(time.Second - 1)
	require.ErrorIs(t, ask(0), apitoken.ErrNotFound)
	p.clock.Advance(1)
	require.NoError(t, ask(1))
	p.directory.Fail(errOutage)
	p.clock.Advance(maxStale)
	require.ErrorIs(t, ask(1), errOutage, "what is too old is not used in an outage either")
}

// FreshStanding asks the directory; what it finds changed is not used any more,
// whatever the change.
func TestFreshStanding(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(d *apitokentest.Owners){
		"active":      func(d *apitokentest.Owners) { d.SetActive("acme", "ann", false) },
		"permissions": func(d *apitokentest.Owners) { d.SetPermissions("acme", "ann", catalog.All()) },
		"roles":       func(d *apitokentest.Owners) { d.SetRoles("acme", "ann", "user") },
		"removed":     func(d *apitokentest.Owners) { d.Remove("acme", "ann") },
		"resources": func(d *apitokentest.Owners) {
			d.Set("acme", "ann", apitoken.Standing{Active: true, Roles: []string{"admin"}, Resources: apitoken.Resources{Groups: []string{"lab"}}})
		},
		"all resources": func(d *apitokentest.Owners) {
			d.Set("acme", "ann", apitoken.Standing{Active: true, Roles: []string{"admin"}, Resources: apitoken.Resources{All: true}})
		},
		"nothing": func(*apitokentest.Owners) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeople(t)
			p.active(true, 1)
			change(p.directory)
			p.active(true, 0)
			want, wantErr := p.directory.Standing(t.Context(), "acme", "ann")
			got, err := p.FreshStanding(t.Context(), "acme", "ann")
			require.Equal(t, wantErr, err)
			require.Equal(t, want, got)
			before := p.directory.Calls()
			got, err = p.Standing(t.Context(), "acme", "ann")
			require.Equal(t, wantErr, err)
			require.Equal(t, want, got)
			require.Equal(t, name != "nothing", p.directory.Calls() > before)
		})
	}
	p := newPeople(t)
	p.active(true, 1)
	p.directory.Fail(errOutage)
	_, err := p.FreshStanding(t.Context(), "acme", "ann")
	require.ErrorIs(t, err, errOutage)
	p.active(true, 0)
}

// A look-up that was overtaken by a hint is not kept.
func TestOwnersOvertaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPeople(t)
		answered, release := make(chan bool), make(chan bool)
		slow := &slowPeople{Owners: p.directory, after: func() { answered <- true; <-release }}
		var err error
		p.Owners, err = cachestore.NewOwners(slow, cachestore.Options{Clock: p.clock})
		require.NoError(t, err)
		done := make(chan bool)
		go func() {
			p.active(true, 1)
			close(done)
		}()
		<-answered
		slow.after = nil
		release <- true
		<-done
		p.active(true, 0)

		slow.after = func() { answered <- true; <-release }
		p.clock.Advance(maxStale)
		go func() { _, _ = p.Standing(t.Context(), "acme", "ann") }()
		<-answered
		slow.after = nil
		p.directory.SetActive("acme", "ann", false)
		p.Forget("acme", "ann")
		release <- true
		synctest.Wait()
		p.active(false, 1)
	})
}

func TestOwnersInHostTransaction(t *testing.T) {
	t.Parallel()
	p := newPeople(t)
	inTx := hosttx.With(t.Context(), "a transaction")
	for range 2 {
		_, err := p.Standing(inTx, "acme", "ann")
		require.NoError(t, err)
	}
	p.active(true, 1)
	p.directory.SetActive("acme", "ann", false)
	_, err := p.FreshStanding(inTx, "acme", "ann")
	require.NoError(t, err)
	p.active(true, 0)
}
