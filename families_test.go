package apitoken_test

import (
	"cmp"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

// moment is one line of a token's life: what happens at an instant, and how the
// token stands right afterwards.
type moment struct {
	at     string // date and time, UTC
	what   string
	do     func()
	status apitoken.Status // "" = not found
	color  apitoken.Color
	verify error                // nil = accepted
	events []apitoken.EventType // what the moment adds to the history
	told   int                  // how many are told of them
}

// live walks the token's life day by day, sweeping, and prints it (go test -v).
func (w *world) live(issued apitoken.Issued, life []moment) {
	w.t.Helper()
	id := issued.Token.ID
	seen := len(w.events(id))
	w.deliver()
	stands := func(what string) {
		line := "gone"
		if v, err := w.Service.Get(w.t.Context(), dan, id); err == nil {
			line = fmt.Sprintf("%s, %s", v.Status, cmp.Or(v.Color, "no colour"))
		}
		w.t.Logf("%s  %-22s %s", w.Clock.Now().UTC().Format("2006-01-02 15:04:05"), line, what)
	}
	for _, m := range life {
		now, err := time.Parse("2006-01-02 15:04:05.999999999", m.at)
		require.NoError(w.t, err)
		for day := w.Clock.Now().Add(day); day.Before(now); day = day.Add(24 * time.Hour) {
			w.Clock.Set(day)
			w.sweep()
			stands("")
		}
		w.Clock.Set(now)
		if m.do != nil {
			m.do()
		}
		w.sweep()
		v, err := w.Service.Get(w.t.Context(), dan, id)
		if m.status == "" {
			require.ErrorIs(w.t, err, apitoken.ErrNotFound, m.what)
		} else {
			require.NoError(w.t, err, m.what)
			require.Equal(w.t, m.status, v.Status, m.what)
			require.Equal(w.t, m.color, v.Color, m.what)
		}
		require.Equal(w.t, apitoken.ReasonOf(m.verify), w.peek(issued), m.what)
		stands(m.what)
		events := w.events(id)
		require.Equal(w.t, m.events, eventTypes(events[seen:]), m.what)
		seen = len(events)
		told := 0
		for _, n := range w.deliver() {
			told += len(n.Recipients)
		}
		require.Equal(w.t, m.told, told, m.what)
	}
}

// peek is the reason why the token would be refused now, "" = it would not; it is
// no use.
func (w *world) peek(i apitoken.Issued) string {
	x, err := w.Service.Explain(w.t.Context(), apitoken.System("support", "acme"), apitoken.ExplainRequest{Verify: apitoken.VerifyRequest{Token: i.Secret.Reveal()}})
	if err != nil {
		return "unknown_token"
	}
	for _, failed := range x.Failed() {
		return failed.Reason
	}
	return ""
}

func TestSlidingFamily(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issued := w.issue(user) // S1.5, S1.17, S1.18
	id := issued.Token.ID
	require.Equal(t, 50, issued.Token.Share) // S1.19
	use := func() { require.NoError(t, w.verify(issued.Secret, "devices:view")); _ = w.Service.Flush(t.Context()) }
	w.live(issued, []moment{
		{"2027-03-01 12:00:00", "issued", nil, apitoken.StatusActive, apitoken.ColorGrey, nil, nil, 0},
		{"2027-03-24 11:59:59", "unused for 23 days", nil, apitoken.StatusActive, apitoken.ColorGrey, nil, nil, 0},
		{"2027-03-24 12:00:00", "7 days left", nil, apitoken.StatusActive, apitoken.ColorRed, nil, nil, 0},                          // S1.22
		{"2027-03-30 10:00:30", "used on the last day: 30 days more", use, apitoken.StatusActive, apitoken.ColorGreen, nil, nil, 0}, // S1.10
		{"2027-04-02 10:00:31", "three days later", nil, apitoken.StatusActive, apitoken.ColorGrey, nil, nil, 0},
		{"2027-04-03 08:00:00", "the user's permissions go", func() { // S1.6
			w.Owners.SetPermissions("acme", "ann", set("reports:view"))
			require.ErrorIs(t, w.verify(issued.Secret, "devices:view"), apitoken.ErrForbidden)
			_ = w.Service.Flush(t.Context())
		}, apitoken.StatusActive, apitoken.ColorGreen, nil, nil, 0}, // a missing permission still is a use
		{"2027-04-03 09:00:00", "and come back, with more", func() {
			w.Owners.SetPermissions("acme", "ann", everything)
			use()
		}, apitoken.StatusActive, apitoken.ColorGreen, nil, nil, 0},
		{"2027-04-10 09:00:00", "the user is deactivated", func() { w.Owners.SetActive("acme", "ann", false) }, // S1.8
			apitoken.StatusSuspended, apitoken.ColorGrey, apitoken.ErrOwnerInactive, nil, 0},
		{"2027-04-20 09:00:00", "and reactivated", func() { w.Owners.SetActive("acme", "ann", true) }, apitoken.StatusActive, apitoken.ColorGrey, nil, nil, 0},
		{"2027-04-21 09:00:00", "half becomes a third", func() { // S1.20
			must(w.Service.Edit(t.Context(), ann, id, apitoken.EditRequest{Share: ptr(33)}))
		}, apitoken.StatusActive, apitoken.ColorGrey, nil, []apitoken.EventType{apitoken.EventEdited}, 0},
		// S1.11: renewed at 09:01, the end of the minute of the last use.
		{"2027-05-03 09:00:59.999999999", "30 days later, still", nil, apitoken.StatusActive, apitoken.ColorRed, nil, nil, 0},
		{"2027-05-03 09:01:00", "over, for good", nil, apitoken.StatusRevoked, apitoken.ColorNone, apitoken.ErrIdle, nil, 0},
		{"2027-05-03 09:04:00", "and written, once other nodes had time", nil, apitoken.StatusRevoked, apitoken.ColorNone, apitoken.ErrIdle, []apitoken.EventType{apitoken.EventRevoked}, 0},
		{"2027-05-04 00:00:00", "nothing revives it", func() {
			require.Error(t, w.verify(issued.Secret))
			_, err := w.Service.Enable(t.Context(), ann, id, apitoken.EnableRequest{Expiry: apitoken.ExpiresIn(day)})
			require.ErrorIs(t, err, apitoken.ErrConflict)
		}, apitoken.StatusRevoked, apitoken.ColorNone, apitoken.ErrIdle, nil, 0},
		{"2037-05-04 00:00:00", "nor is it purged", nil, apitoken.StatusRevoked, apitoken.ColorNone, apitoken.ErrIdle, nil, 0},
	})
	last := w.events(id)
	require.Equal(t, "API Token revoked", last[len(last)-1].Message) // S1.30
}

func TestFixedTermFamily(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Admins.Set("acme", apitoken.Administrator{ID: "root", System: true, Active: true}, apitoken.Administrator{ID: "dan", Active: true})
	issued := w.IssueAs(bob, apitoken.IssueRequest{Kind: fixed, Name: "export", Description: "nightly", Permissions: []string{"reports:view"}}) // S2.4, S2.17
	id := issued.Token.ID
	require.Len(t, w.Notifier.Told(), 0)
	w.live(issued, []moment{
		{"2027-03-01 12:00:00", "issued: 90 days", nil, apitoken.StatusActive, apitoken.ColorGrey, nil, nil, 0}, // S2.21
		{"2027-03-10 00:00:00", "the user's role, groups and permissions change", func() { // S2.3, S2.6
			w.Owners.Set("acme", "bob", apitoken.Standing{Active: true, Permissions: viewer, Roles: []string{"read_only"}})
			p := w.Verify(issued.Secret)
			require.Equal(t, []string{"reports:view"}, p.Permissions().Names())
			require.Equal(t, []string{"north"}, p.Resources().Groups)
			_, err := w.Service.Edit(t.Context(), bob, id, apitoken.EditRequest{Permissions: &[]string{"devices:view"}})
			require.Equal(t, []string{"permissions"}, wrongFields(err))
		}, apitoken.StatusActive, apitoken.ColorGreen, nil, nil, 0},
		{"2027-03-20 00:00:00", "edited: addresses added", func() { // S2.24, S2.28
			must(w.Service.Edit(t.Context(), bob, id, apitoken.EditRequest{AddNetworks: []string{"192.0.2.0/24 2001:db8::/48"}}))
			must(w.Service.Edit(t.Context(), bob, id, apitoken.EditRequest{Networks: &[]string{}, AnyNetwork: true}))
		}, apitoken.StatusActive, apitoken.ColorGrey, nil, []apitoken.EventType{apitoken.EventEdited, apitoken.EventEdited}, 0},
		{"2027-04-01 00:00:00", "not to be rotated", func() {
			_, err := w.Service.Rotate(t.Context(), bob, id, apitoken.RotateRequest{IdempotencyKey: "k"})
			require.ErrorIs(t, err, apitoken.ErrConflict)
		}, apitoken.StatusActive, apitoken.ColorGrey, nil, nil, 0},
		{"2027-05-24 00:00:00", "7 days before the end of its last day", nil, apitoken.StatusActive, apitoken.ColorRed, nil, nil, 0},
		{"2027-05-26 23:59:59.999999999", "more than three days before its date", nil, apitoken.StatusActive, apitoken.ColorRed, nil, nil, 0},
		{"2027-05-27 00:00:00", "three days: bob and the system administrator are told", nil, // S2.33
			apitoken.StatusActive, apitoken.ColorRed, nil, []apitoken.EventType{apitoken.EventExpiring}, 2},
		{"2027-05-29 18:00:00", "extended to a year from that day", func() { // S2.33
			must(w.Service.Extend(t.Context(), bob, id, apitoken.ExtendRequest{Expiry: apitoken.ExpiresOn("2028-05-29")}))
		}, apitoken.StatusActive, apitoken.ColorGrey, nil, []apitoken.EventType{apitoken.EventExtended}, 0},
		{"2028-01-01 00:00:00", "its owner is away", func() { w.Owners.SetActive("acme", "bob", false) }, apitoken.StatusSuspended, apitoken.ColorGrey, apitoken.ErrOwnerInactive, nil, 0},
		{"2028-01-02 00:00:00", "and back", func() { w.Owners.SetActive("acme", "bob", true) }, apitoken.StatusActive, apitoken.ColorGrey, nil, nil, 0},
		{"2028-05-26 00:00:00", "told of the new expiry too", nil, // S2.33
			apitoken.StatusActive, apitoken.ColorRed, nil, []apitoken.EventType{apitoken.EventExpiring}, 2},
		{"2028-05-29 23:59:59.999999999", "the last instant of the last day", nil, apitoken.StatusActive, apitoken.ColorRed, nil, nil, 0}, // S2.32
		{"2028-05-30 00:00:00", "expired: bob and the system administrator are told", nil, // S2.34
			apitoken.StatusExpired, apitoken.ColorRed, apitoken.ErrExpired, []apitoken.EventType{apitoken.EventExpired}, 2},
		{"2028-06-01 00:00:00", "visible, and locked", func() { // S2.35
			require.True(t, w.get(id).Expired)
			_, err := w.Service.Extend(t.Context(), bob, id, apitoken.ExtendRequest{Expiry: apitoken.ExpiresOn("2028-07-01")})
			require.ErrorIs(t, err, apitoken.ErrConflict)
			_, err = w.Service.Edit(t.Context(), bob, id, apitoken.EditRequest{Name: ptr("x")})
			require.ErrorIs(t, err, apitoken.ErrConflict)
		}, apitoken.StatusExpired, apitoken.ColorRed, apitoken.ErrExpired, nil, 0},
		{"2030-06-01 00:00:00", "for years", nil, apitoken.StatusExpired, apitoken.ColorRed, apitoken.ErrExpired, nil, 0},
		{"2030-06-02 00:00:00", "until somebody deletes it", func() { require.NoError(t, w.Service.Delete(t.Context(), bob, id, "")) },
			"", "", apitoken.ErrUnknownToken, []apitoken.EventType{apitoken.EventDeleted}, 0},
	})
	var messages []string
	for _, e := range w.events(id) {
		messages = append(messages, e.Message)
	}
	require.Equal(t, []string{ // S2.31, S2.34
		"API token updated", "API token updated", "API token updated", "API token expires soon", "API token updated",
		"API token expires soon", "API token expired", "API Token deleted",
	}, messages)
}

func TestSwitchableFamily(t *testing.T) {
	t.Parallel()
	t.Run("personal", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		issued := w.IssueAs(bob, apitoken.IssueRequest{ // S3.2: kind, permissions and expiry are chosen
			Kind: personal, Name: "scan", Permissions: []string{"devices:view", "reports:view"}, Expiry: apitoken.ExpiresOn("2027-03-31"),
		})
		id := issued.Token.ID
		can := func(want ...string) { require.Equal(t, want, w.Verify(issued.Secret).Permissions().Names()) }
		w.live(issued, []moment{
			{"2027-03-01 12:00:00", "issued", nil, apitoken.StatusActive, apitoken.ColorGrey, nil, nil, 0},
			{"2027-03-02 00:00:00", "its owner's permissions shrink, return and grow", func() { // S3.12
				w.Owners.SetPermissions("acme", "bob", viewer)
				can("devices:view")
				w.Owners.SetPermissions("acme", "bob", everything)
				can("devices:view", "reports:view")
			}, apitoken.StatusActive, apitoken.ColorGreen, nil, nil, 0},
			{"2027-03-03 00:00:00", "its owner edits the permissions", func() {
				must(w.Service.Edit(t.Context(), bob, id, apitoken.EditRequest{Permissions: &[]string{"scripts:run"}}))
				can("scripts:run")
			}, apitoken.StatusActive, apitoken.ColorGreen, nil, []apitoken.EventType{apitoken.EventEdited}, 0},
			{"2027-03-10 00:00:00", "an administrator disables it", func() { must(w.Service.Disable(t.Context(), ann, id, "audit")) }, // S3.13
				apitoken.StatusDisabled, apitoken.ColorNone, apitoken.ErrDisabled, []apitoken.EventType{apitoken.EventDisabled}, 0},
			{"2027-03-16 23:59:59.999999", "a week has not passed", nil, apitoken.StatusDisabled, apitoken.ColorNone, apitoken.ErrDisabled, nil, 0},
			{"2027-03-16 23:59:59.999999", "enabled with a new expiry", func() { // S3.15
				must(w.Service.Enable(t.Context(), bob, id, apitoken.EnableRequest{Expiry: apitoken.ExpiresOn("2027-06-01")}))
			}, apitoken.StatusActive, apitoken.ColorGrey, nil, []apitoken.EventType{apitoken.EventEnabled}, 0},
			{"2027-05-28 23:59:59.999999999", "more than three days before", nil, apitoken.StatusActive, apitoken.ColorRed, nil, nil, 0},
			{"2027-05-29 00:00:00", "three days: its owner is told", nil, // S3.8, S3.9
				apitoken.StatusActive, apitoken.ColorRed, nil, []apitoken.EventType{apitoken.EventExpiring}, 1},
			{"2027-05-31 23:59:59.999999999", "the last instant", nil, apitoken.StatusActive, apitoken.ColorRed, nil, nil, 0},
			{"2027-06-01 00:00:00", "refused from the beginning of the date", nil, // S3.7
				apitoken.StatusDisabled, apitoken.ColorRed, apitoken.ErrExpired, []apitoken.EventType{apitoken.EventExpired}, 0},
			{"2027-06-03 00:00:00", "enabled again, with a new expiry", func() {
				must(w.Service.Enable(t.Context(), bob, id, apitoken.EnableRequest{Expiry: apitoken.ExpiresIn(time.Hour)}))
			}, apitoken.StatusActive, apitoken.ColorRed, nil, []apitoken.EventType{apitoken.EventEnabled}, 0},
			// S3.8: a life of an hour has no notice.
			{"2027-06-03 01:00:00", "over again", nil, apitoken.StatusDisabled, apitoken.ColorRed, apitoken.ErrExpired, []apitoken.EventType{apitoken.EventExpired}, 0},
			{"2027-06-10 00:59:59.999999", "a week later, almost", nil, apitoken.StatusDisabled, apitoken.ColorRed, apitoken.ErrExpired, nil, 0},
			{"2027-06-10 01:00:00", "deleted", nil, "", "", apitoken.ErrUnknownToken, []apitoken.EventType{apitoken.EventDeleted}, 0}, // S3.14
		})
	})
	t.Run("shared", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.Admins.Set("acme", apitoken.Administrator{ID: "ann", Active: true}, apitoken.Administrator{ID: "dan", Active: true}, apitoken.Administrator{ID: "left"})
		issued := w.issue(shared, func(r *apitoken.IssueRequest) { r.Role = "read_only" }) // S3.11
		id := issued.Token.ID
		w.live(issued, []moment{
			{"2027-03-01 12:00:00", "issued, without an expiry", nil, apitoken.StatusActive, apitoken.ColorGrey, nil, nil, 0},
			{"2037-03-01 12:00:00", "ten years", nil, apitoken.StatusActive, apitoken.ColorGrey, nil, nil, 0},
			{"2037-03-02 12:00:00", "its creator leaves", func() { w.Owners.Remove("acme", "ann") }, apitoken.StatusActive, apitoken.ColorGrey, nil, nil, 0}, // S3.5
			{"2037-03-03 12:00:00", "another administrator renews the value", func() {
				issued = w.rotate(dan, id, day)
			}, apitoken.StatusActive, apitoken.ColorGrey, nil, []apitoken.EventType{apitoken.EventRotated}, 0}, // S3.6
			{"2037-03-04 12:00:00", "the one before ends a day later", nil,
				apitoken.StatusActive, apitoken.ColorGrey, apitoken.ErrSuperseded, []apitoken.EventType{apitoken.EventOverlapEnded}, 0},
			{"2037-03-04 12:00:00", "and gives it an end", func() {
				must(w.Service.Extend(t.Context(), dan, id, apitoken.ExtendRequest{Expiry: apitoken.ExpiresOn("2037-03-31")}))
			}, apitoken.StatusActive, apitoken.ColorGrey, apitoken.ErrSuperseded, []apitoken.EventType{apitoken.EventExtended}, 0},
			{"2037-03-28 00:00:00", "three days: all administrators are told", nil, // S3.8, S3.9
				apitoken.StatusActive, apitoken.ColorRed, apitoken.ErrSuperseded, []apitoken.EventType{apitoken.EventExpiring}, 2},
			{"2037-03-29 12:00:00", "and one revokes it", func() {
				require.Equal(t, []string{"devices:view", "reports:view"}, w.Verify(issued.Secret).Permissions().Names())
				require.NoError(t, w.Service.Revoke(t.Context(), dan, id, ""))
			}, apitoken.StatusRevoked, apitoken.ColorNone, apitoken.ErrSuperseded, []apitoken.EventType{apitoken.EventRevoked}, 0},
		})
	})
}

// S1.9: what a service account issues goes on as long as the account does,
// whoever leaves.
func TestServiceAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Owners.Set("acme", "svc", apitoken.Standing{Active: true, Permissions: viewer, Roles: []string{"read_only_admin"}})
	issued := w.issueTo(apitoken.Actor{ID: "svc", Tenant: "acme"}, user)
	for _, person := range []string{"ann", "bob", "dan"} {
		w.Owners.Remove("acme", person)
	}
	require.NoError(t, w.verify(issued.Secret, "devices:view"))
}
