package apitoken_test

import (
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

func (w *world) rotate(actor apitoken.Actor, id apitoken.ID, overlap time.Duration) apitoken.Issued {
	w.t.Helper()
	issued, err := w.Service.Rotate(w.t.Context(), actor, id, apitoken.RotateRequest{Overlap: overlap, IfVersion: w.stored(id).Token.Version})
	require.NoError(w.t, err)
	return issued
}

func TestRotateKeepsTheToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.issue(shared, func(r *apitoken.IssueRequest) {
		r.Permissions, r.Networks, r.Share, r.Metadata = []string{"devices:view"}, []string{"192.0.2.0/24"}, 30, map[string]string{"team": "a"}
	})
	use := apitoken.VerifyRequest{Token: first.Secret.Reveal(), Address: w.stored(first.Token.ID).Token.Networks[0].Addr()}
	must(w.Service.Verify(t.Context(), use))
	w.Clock.Advance(time.Hour)
	second := w.rotate(ann, first.Token.ID, 0)
	want := first.Token.Token
	want.Version, want.UpdatedAt, want.RotatedAt = 2, w.Clock.Now(), w.Clock.Now()
	got := second.Token.Token
	require.EqualValues(t, 1, got.Usage.Uses)
	got.Usage = want.Usage
	require.Equal(t, want, got)
	require.NotEqual(t, first.Secret.Reveal(), second.Secret.Reveal())
	require.Equal(t, []apitoken.EventType{apitoken.EventCreated, apitoken.EventRotated}, eventTypes(w.events(first.Token.ID)))
}

// The previous value works until the overlap ends, at most to the expiry; a
// second rotation ends it.
func TestRotateOverlap(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		expiry  apitoken.Expiry
		overlap time.Duration
		works   time.Duration // how long the previous value works
		end     error
	}{
		{"none", apitoken.Expiry{}, 0, 0, apitoken.ErrSuperseded},
		{"an hour", apitoken.Expiry{}, time.Hour, time.Hour, apitoken.ErrSuperseded},
		{"beyond the expiry", apitoken.ExpiresIn(30 * time.Minute), time.Hour, 30 * time.Minute, apitoken.ErrSuperseded},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			first := w.issue(shared, func(r *apitoken.IssueRequest) { r.Expiry = c.expiry })
			id := first.Token.ID
			second := w.rotate(ann, id, c.overlap)
			start := w.Clock.Now()
			if c.works > 0 {
				w.Clock.Set(start.Add(c.works - time.Nanosecond))
				require.NoError(t, w.verify(first.Secret))
				require.NoError(t, w.verify(second.Secret))
			}
			w.Clock.Set(start.Add(c.works))
			require.ErrorIs(t, w.verify(first.Secret), c.end)
			if c.expiry.IsZero() {
				require.NoError(t, w.verify(second.Secret))
			}
		})
	}
	w := newWorld(t)
	first := w.issue(shared)
	second := w.rotate(ann, first.Token.ID, 30*day)
	third := w.rotate(ann, first.Token.ID, 30*day)
	require.ErrorIs(t, w.verify(first.Secret), apitoken.ErrUnauthenticated, "a second rotation ends the first overlap")
	require.NoError(t, w.verify(second.Secret))
	require.NoError(t, w.verify(third.Secret))

	// A shorter expiry shortens a running overlap.
	must(w.Service.Extend(t.Context(), ann, first.Token.ID, apitoken.ExtendRequest{Expiry: apitoken.ExpiresIn(time.Hour)}))
	must(w.Service.Extend(t.Context(), ann, first.Token.ID, apitoken.ExtendRequest{Expiry: apitoken.NeverExpires()}))
	w.Clock.Advance(time.Hour)
	require.ErrorIs(t, w.verify(second.Secret), apitoken.ErrSuperseded)
}

// A replaced value that is used after its end is refused, and reported once; it
// revokes the token only where the policy says so.
func TestRotateReportsReuse(t *testing.T) {
	t.Parallel()
	for _, revokes := range []bool{false, true} {
		w := newWorld(t, with(shared, func(p *apitoken.Policy) { p.RevokeOnReuse = revokes }))
		first := w.issue(shared)
		second := w.rotate(ann, first.Token.ID, 0)
		for range 3 {
			require.ErrorIs(t, w.verify(first.Secret), apitoken.ErrUnauthenticated)
		}
		types := eventTypes(w.events(first.Token.ID))[2:]
		v := w.get(first.Token.ID)
		require.Zero(t, v.Usage.Uses)
		if !revokes {
			require.Equal(t, []apitoken.EventType{apitoken.EventReused}, types)
			require.NoError(t, w.verify(second.Secret))
			continue
		}
		require.Equal(t, []apitoken.EventType{apitoken.EventReused, apitoken.EventRevoked}, types)
		require.Equal(t, apitoken.CauseReuse, v.Cause)
		require.ErrorIs(t, w.verify(second.Secret), apitoken.ErrRevoked)
	}
	// Each rotation is watched anew.
	w := newWorld(t)
	first := w.issue(shared)
	second := w.rotate(ann, first.Token.ID, 0)
	require.Error(t, w.verify(first.Secret))
	w.rotate(ann, first.Token.ID, 0)
	require.Error(t, w.verify(second.Secret))
	require.Equal(t, []apitoken.EventType{apitoken.EventReused, apitoken.EventRotated, apitoken.EventReused}, eventTypes(w.events(first.Token.ID))[2:])
}

func TestRotateWhoAndWhen(t *testing.T) {
	t.Parallel()
	noop := func(*world, apitoken.ID) {}
	for _, c := range []struct {
		name    string
		kind    apitoken.Kind
		prepare func(w *world, id apitoken.ID)
		actor   apitoken.Actor
		want    error
	}{
		// S3.4: the new value of a person's token is that person's alone.
		{"own", personal, noop, ann, nil},
		{"another's, by an administrator", personal, noop, dan, apitoken.ErrNotOwner},
		{"another's, by the system", personal, noop, system, apitoken.ErrNotOwner},
		{"own, without a role any more", personal, func(w *world, _ apitoken.ID) { w.Owners.SetRoles("acme", "ann") }, ann, apitoken.ErrMayNot},
		// S3.6
		{"shared, by another administrator", shared, noop, dan, nil},
		{"sliding", user, noop, ann, nil},
		{"fixed term is deleted and made anew", fixed, noop, ann, apitoken.ErrConflict},
		{"disabled", shared, func(w *world, id apitoken.ID) { must(w.Service.Disable(t.Context(), ann, id, "")) }, ann, apitoken.ErrConflict},
		{"revoked", shared, func(w *world, id apitoken.ID) { _ = w.Service.Revoke(t.Context(), ann, id, "") }, ann, apitoken.ErrConflict},
		// S1.12: an agent's is the system's; S1.28: a person's rotation waits for the agent to stop.
		{"agent, by the system", agent, func(w *world, _ apitoken.ID) { w.Agents.SetActive("acme", "bot", true) }, system, nil},
		{"active agent, by a person", agent, func(w *world, _ apitoken.ID) { w.Agents.SetActive("acme", "bot", true) }, ann, apitoken.ErrConflict},
		{"agent at rest, by a person", agent, noop, ann, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			issued := w.issue(c.kind)
			c.prepare(w, issued.Token.ID)
			before := w.dump()
			got, err := w.Service.Rotate(t.Context(), c.actor, issued.Token.ID, apitoken.RotateRequest{IdempotencyKey: "k"})
			if c.want != nil {
				oneFamily(t, err, c.want)
				require.True(t, got.Secret.IsZero())
				require.Equal(t, before, w.dump())
				return
			}
			require.NoError(t, err)
			w.Agents.SetActive("acme", "bot", true)
			require.NoError(t, w.verify(got.Secret))
			require.Error(t, w.verify(issued.Secret))
		})
	}
}

func TestRotateIdempotency(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.issue(shared).Token.ID
	req := apitoken.RotateRequest{IdempotencyKey: "k1", Overlap: time.Hour}
	second := must(w.Service.Rotate(t.Context(), ann, id, req))
	before := w.dump()
	again, err := w.Service.Rotate(t.Context(), ann, id, req)
	oneFamily(t, err, apitoken.ErrConflict)
	var already *apitoken.AlreadyIssuedError
	require.ErrorAs(t, err, &already)
	require.Equal(t, id, already.Token.ID)
	require.True(t, again.Secret.IsZero())
	req.Overlap = time.Minute
	_, err = w.Service.Rotate(t.Context(), ann, id, req)
	require.Equal(t, []string{"idempotency_key"}, wrongFields(err))
	_, err = w.Service.Rotate(t.Context(), ann, id, apitoken.RotateRequest{IfVersion: 1})
	oneFamily(t, err, apitoken.ErrVersion)
	require.Equal(t, before, w.dump())
	require.NoError(t, w.verify(second.Secret))
}

// S3.17, S3.19: an older ID and secret open the token beside its generated
// value; S3.18: renewing the value ends that at once and for good.
func TestRotateEndsLegacy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const uuid, old = "6f1c2f8e-0d6f-4f0e-9a3c-0c5d1b1e9a77", "an older secret of 32 characters"
	first := w.issue(legacy, func(r *apitoken.IssueRequest) {
		r.Legacy = apitoken.LegacyCredential{ID: uuid, Secret: apitoken.NewSecret(old)}
	})
	pair := func(id, secret string) error {
		p, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{LegacyID: id, LegacySecret: secret})
		if err == nil {
			require.Equal(t, apitoken.SchemeLegacy, p.Scheme)
			require.Equal(t, first.Token.ID, p.Token)
		}
		return err
	}
	require.NoError(t, pair(uuid, old))
	require.NoError(t, w.verify(first.Secret))
	require.ErrorIs(t, pair(uuid, old+"x"), apitoken.ErrWrongSecret)
	require.ErrorIs(t, pair(uuid+"x", old), apitoken.ErrUnknownToken)
	v := w.get(first.Token.ID)
	require.EqualValues(t, 2, v.Usage.Uses)
	require.Equal(t, w.Clock.Now(), v.Usage.Legacy)
	require.NotContains(t, w.dump(), old)
	_, err := w.Service.Issue(t.Context(), ann, apitoken.IssueRequest{Kind: legacy, Name: "two", Legacy: apitoken.LegacyCredential{ID: uuid, Secret: apitoken.NewSecret(old)}})
	require.Equal(t, []string{"legacy.id"}, wrongFields(err))

	principal := must(w.Service.Verify(t.Context(), apitoken.VerifyRequest{LegacyID: uuid, LegacySecret: old}))
	second := w.rotate(ann, first.Token.ID, 30*day)
	require.ErrorIs(t, pair(uuid, old), apitoken.ErrLegacyEnded, "no overlap")
	_, err = w.Service.Recheck(t.Context(), principal)
	require.ErrorIs(t, err, apitoken.ErrLegacyEnded)
	require.NoError(t, w.verify(first.Secret), "the generated value has its overlap")
	require.NoError(t, w.verify(second.Secret))
	must(w.Service.Disable(t.Context(), ann, first.Token.ID, ""))
	must(w.Service.Enable(t.Context(), ann, first.Token.ID, apitoken.EnableRequest{Expiry: apitoken.ExpiresIn(day)}))
	require.ErrorIs(t, pair(uuid, old), apitoken.ErrLegacyEnded, "for good")
}

// 'At once' does not depend on the clock: a node that is behind, or a clock that
// was set back, must not let the replaced value in.
func TestRotateAtOnceForEveryClock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.issue(shared)
	second := w.rotate(ann, first.Token.ID, 0)
	for range 3 {
		w.Clock.Advance(-time.Minute)
		require.ErrorIs(t, w.verify(first.Secret), apitoken.ErrSuperseded)
		require.NoError(t, w.verify(second.Secret))
	}
	require.Equal(t, apitoken.EventReused, eventTypes(w.events(first.Token.ID))[2])
}

// A person's token stays that person's when the policy of its kind no longer says
// so: whoever has its value acts as its owner. S3.4
func TestRotateAfterOwnershipChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issued := w.issueTo(bob, plain)
	w.Options.Kinds = maps.Clone(w.Options.Kinds)
	with(plain, func(p *apitoken.Policy) { p.Ownership = apitoken.OwnedByTenant })(&w.Options)
	_, err := w.Node().Rotate(t.Context(), ann, issued.Token.ID, apitoken.RotateRequest{IfVersion: 1})
	oneFamily(t, err, apitoken.ErrNotOwner)
	must(w.Node().Rotate(t.Context(), bob, issued.Token.ID, apitoken.RotateRequest{IfVersion: 1}))
}

// A retry that was long on the way displaces no value that a rotation without a
// key has made since.
func TestRotateRetryAfterAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.issue(shared).Token.ID
	retried := apitoken.RotateRequest{IdempotencyKey: "k"}
	must(w.Service.Rotate(t.Context(), ann, id, retried))
	inUse := w.rotate(ann, id, 0)
	_, err := w.Service.Rotate(t.Context(), ann, id, retried)
	_, already := errors.AsType[*apitoken.AlreadyIssuedError](err)
	require.True(t, already, "%v", err)
	require.NoError(t, w.verify(inUse.Secret))
}
