package apitoken_test

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

// S1.22: the colours and their edges; where they overlap yellow, red, green, grey.
func TestHealth(t *testing.T) {
	t.Parallel()
	const never = -1
	for _, c := range []struct {
		name    string
		kind    apitoken.Kind
		used    time.Duration // ago
		expires time.Duration // from now, 0 = never
		then    func(w *world, id apitoken.ID)
		want    apitoken.Color
	}{
		{"never used, no expiry", shared, never, 0, nil, apitoken.ColorGrey},
		{"used now", shared, 0, 0, nil, apitoken.ColorGreen},
		{"used 72 h ago", shared, 72 * time.Hour, 0, nil, apitoken.ColorGreen},
		{"used a little more than 72 h ago", shared, 72*time.Hour + time.Microsecond, 0, nil, apitoken.ColorGrey},
		{"used, expires in 7 d", shared, 0, 7 * day, nil, apitoken.ColorRed},
		{"used, expires in more than 7 d", shared, 0, 7*day + time.Microsecond, nil, apitoken.ColorGreen},
		{"unused, expires in 7 d", shared, never, 7 * day, nil, apitoken.ColorRed},
		{"unused, expires in more than 7 d", shared, never, 7*day + time.Microsecond, nil, apitoken.ColorGrey},
		{"no expiry is never red, however old", shared, 1000 * day, 0, nil, apitoken.ColorGrey},
		{"idle in 7 d", user, 23*day + time.Minute, 0, nil, apitoken.ColorRed},
		{"idle in more than 7 d", user, 22 * day, 0, nil, apitoken.ColorGrey},
		{"expired", fixed, never, 0, func(w *world, _ apitoken.ID) { w.Clock.Advance(92 * day) }, apitoken.ColorRed},
		{"disabled", shared, 0, 0, func(w *world, id apitoken.ID) { must(w.Service.Disable(t.Context(), ann, id, "")) }, apitoken.ColorNone},
		{"revoked", shared, 0, 0, func(w *world, id apitoken.ID) { _ = w.Service.Revoke(t.Context(), ann, id, "") }, apitoken.ColorNone},
		{"revoked for lack of use", user, never, 0, func(w *world, _ apitoken.ID) { w.Clock.Advance(30 * day) }, apitoken.ColorNone},
		// S1.23: suspicious = tied to an agent that is not registered.
		{"agent at rest", agent, never, 0, nil, apitoken.ColorGrey},
		{"suspicious", agent, never, 0, func(w *world, _ apitoken.ID) { w.Agents.Remove("acme", "bot") }, apitoken.ColorYellow},
		{"suspicious before red", agent, never, 0, func(w *world, _ apitoken.ID) { w.Agents.Remove("acme", "bot"); w.Clock.Advance(29 * day) }, apitoken.ColorYellow},
		{"suspicious, revoked", agent, never, 0, func(w *world, id apitoken.ID) {
			w.Agents.Remove("acme", "bot")
			_ = w.Service.Revoke(t.Context(), ann, id, "")
		}, apitoken.ColorYellow},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			issued := w.issue(c.kind, func(r *apitoken.IssueRequest) {
				if c.expires > 0 {
					r.Expiry = apitoken.ExpiresIn(max(c.used, 0) + c.expires)
				}
			})
			if c.used != never {
				w.Verify(issued.Secret)
				w.Clock.Advance(c.used)
			}
			if c.then != nil {
				c.then(w, issued.Token.ID)
			}
			v := w.get(issued.Token.ID)
			require.Equal(t, c.want, v.Color)
			require.Equal(t, c.want, apitoken.Health(v, w.Clock.Now()))
			require.Equal(t, c.want == apitoken.ColorYellow, v.Suspicious)
		})
	}
}

// listed is a world with a token of every sort of state and use.
func listed(t *testing.T) *world {
	w := newWorld(t)
	add := func(name string, kind apitoken.Kind, change ...func(*apitoken.IssueRequest)) apitoken.Issued {
		w.Clock.Advance(time.Minute)
		return w.issue(kind, append(change, func(r *apitoken.IssueRequest) { r.Name = name })...)
	}
	use := func(i apitoken.Issued, n int) {
		for range n {
			w.Verify(i.Secret)
		}
		w.Clock.Advance(time.Minute)
	}
	for _, a := range []string{"bot1", "bot2"} {
		w.Agents.Set("acme", a, apitoken.Registration{Registered: true, Active: true, Kind: "sensor", Name: a})
		use(add("agent "+a, agent, func(r *apitoken.IssueRequest) { r.Agent = a }), 2)
	}
	use(add("green", shared, func(r *apitoken.IssueRequest) { r.Metadata = map[string]string{"team": "a"} }), 3)
	add("red", personal, func(r *apitoken.IssueRequest) {
		r.Expiry, r.Metadata = apitoken.ExpiresIn(day), map[string]string{"team": "b"}
	})
	add("grey", user)
	must(w.Service.Disable(t.Context(), ann, add("disabled", fixed).Token.ID, ""))
	require.NoError(t, w.Service.Revoke(t.Context(), ann, add("revoked", plain).Token.ID, ""))
	w.Clock.Advance(time.Minute)
	w.IssueAs(bob, apitoken.IssueRequest{Kind: personal, Name: "bob's"})
	w.Clock.Advance(time.Minute)
	w.IssueAs(zoe, apitoken.IssueRequest{Kind: plain, Name: "foreign"})
	w.Agents.Remove("acme", "bot2")
	require.NoError(t, w.Service.Flush(t.Context()))
	return w
}

func (w *world) list(actor apitoken.Actor, q apitoken.ListQuery) []string {
	w.t.Helper()
	var names []string
	for v, err := range w.Service.All(w.t.Context(), actor, q) {
		require.NoError(w.t, err)
		names = append(names, v.Name)
	}
	return names
}

// S1.21: the list can be sorted by each of its columns, both ways, page by page.
func TestListSorts(t *testing.T) {
	t.Parallel()
	w := listed(t)
	now := w.Clock.Now()
	value := map[apitoken.SortKey]func(v apitoken.View) string{
		"":                    func(v apitoken.View) string { return v.CreatedAt.Format(time.RFC3339) },
		apitoken.SortCreated:  func(v apitoken.View) string { return v.CreatedAt.Format(time.RFC3339) },
		apitoken.SortName:     func(v apitoken.View) string { return v.Name },
		apitoken.SortKind:     func(v apitoken.View) string { return string(v.Kind) },
		apitoken.SortUses:     func(v apitoken.View) string { return fmt.Sprintf("%09d", v.Usage.Uses) },
		apitoken.SortLastUsed: func(v apitoken.View) string { return v.Usage.LastUsed.Format(time.RFC3339) },
		apitoken.SortExpires: func(v apitoken.View) string {
			if v.EndsAt.IsZero() {
				return "9999"
			}
			return v.EndsAt.Format(time.RFC3339)
		},
		apitoken.SortStatus: func(v apitoken.View) string {
			// Whether an owner or agent suspends a token is no column of the store.
			return map[apitoken.Status]string{apitoken.StatusActive: "0", apitoken.StatusSuspended: "0", apitoken.StatusDisabled: "2", apitoken.StatusExpired: "3", apitoken.StatusRevoked: "4"}[v.Status]
		},
		apitoken.SortHealth: func(v apitoken.View) string {
			return map[apitoken.Color]string{apitoken.ColorYellow: "0", apitoken.ColorRed: "1", apitoken.ColorGreen: "2", apitoken.ColorGrey: "3", apitoken.ColorNone: "4"}[v.Color]
		},
	}
	for key, of := range value {
		for _, desc := range []bool{false, true} {
			for _, limit := range []int{0, 1, 2, 3, 8, 500} {
				t.Run(fmt.Sprintf("%s desc=%v limit=%d", key, desc, limit), func(t *testing.T) {
					t.Parallel()
					var got []apitoken.View
					for v, err := range w.Service.All(t.Context(), ann, apitoken.ListQuery{Sort: key, Desc: desc, Limit: limit}) {
						require.NoError(t, err)
						got = append(got, v)
					}
					require.Len(t, got, 8)
					require.True(t, slices.IsSortedFunc(got, func(a, b apitoken.View) int {
						order := cmp.Or(strings.Compare(of(a), of(b)), strings.Compare(string(a.ID), string(b.ID)))
						if desc {
							return -order
						}
						return order
					}), "%v", got)
				})
			}
		}
	}
	require.Equal(t, now, w.Clock.Now())
	require.Equal(t, "agent bot2", w.list(ann, apitoken.ListQuery{Sort: apitoken.SortHealth})[0])
	require.Equal(t, "agent bot2", w.list(ann, apitoken.ListQuery{Sort: apitoken.SortHealth, Desc: true, Limit: 3})[7])
}

// S1.25: filters, by type and 'suspicious', and all the others; they combine.
func TestListFilters(t *testing.T) {
	t.Parallel()
	w := listed(t)
	all := []string{"agent bot1", "agent bot2", "green", "red", "grey", "disabled", "revoked", "bob's"}
	for _, c := range []struct {
		name  string
		actor apitoken.Actor
		q     apitoken.ListQuery
		want  []string
	}{
		{"all", ann, apitoken.ListQuery{}, all}, // S1.14: agents' tokens beside the others
		{"one kind", ann, apitoken.ListQuery{Kinds: []apitoken.Kind{agent}}, []string{"agent bot1", "agent bot2"}},
		{"two kinds", ann, apitoken.ListQuery{Kinds: []apitoken.Kind{shared, fixed}}, []string{"green", "disabled"}},
		{"no such kind", ann, apitoken.ListQuery{Kinds: []apitoken.Kind{"nope"}}, nil},
		{"suspicious", ann, apitoken.ListQuery{Suspicious: true}, []string{"agent bot2"}},
		{"suspicious people", ann, apitoken.ListQuery{Suspicious: true, Kinds: []apitoken.Kind{user}}, nil},
		{"owner", ann, apitoken.ListQuery{Owner: "bob"}, []string{"bob's"}},
		{"agent", ann, apitoken.ListQuery{Agent: "bot1"}, []string{"agent bot1"}},
		{"creator", ann, apitoken.ListQuery{Creator: system.ID}, []string{"agent bot1", "agent bot2"}},
		{"active", ann, apitoken.ListQuery{Status: apitoken.StatusActive}, []string{"agent bot1", "agent bot2", "green", "red", "grey", "bob's"}},
		{"disabled", ann, apitoken.ListQuery{Status: apitoken.StatusDisabled}, []string{"disabled"}},
		{"revoked", ann, apitoken.ListQuery{Status: apitoken.StatusRevoked}, []string{"revoked"}},
		{"metadata", ann, apitoken.ListQuery{MetaKey: "team", MetaValue: "a"}, []string{"green"}},
		{"metadata, another value", ann, apitoken.ListQuery{MetaKey: "team", MetaValue: "c"}, nil},
		{"metadata, no such key", ann, apitoken.ListQuery{MetaKey: "nope"}, nil},
		{"combined", ann, apitoken.ListQuery{Owner: "ann", Status: apitoken.StatusActive, MetaKey: "team", MetaValue: "b"}, []string{"red"}},
		// S3.4: administrators list their company's; S3.6: nobody else sees shared ones.
		// An analyst who manages API credentials sees fixed-term ones, and plain ones
		// have no managers named.
		{"as the analyst", bob, apitoken.ListQuery{}, []string{"disabled", "revoked", "bob's"}},
		{"as the analyst, another's", bob, apitoken.ListQuery{Kinds: []apitoken.Kind{personal}}, []string{"bob's"}},
		{"as the analyst, shared", bob, apitoken.ListQuery{Kinds: []apitoken.Kind{shared}}, nil},
		{"as another company", zoe, apitoken.ListQuery{}, []string{"foreign"}},
		{"as the system", system, apitoken.ListQuery{}, all},
		{"as the operator", apitoken.DangerouslyCrossTenant("ops"), apitoken.ListQuery{}, append(slices.Clone(all), "foreign")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, limit := range []int{0, 1, 2} {
				c.q.Limit = limit
				require.Equal(t, c.want, w.list(c.actor, c.q))
			}
		})
	}
}

// S1.27: counts are at hand and follow every change.
func TestCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	counts := func(a apitoken.Actor) apitoken.Counts { return must(w.Service.Counts(t.Context(), a)) }
	want := apitoken.Counts{Kinds: map[apitoken.Kind]int{}}
	for _, k := range worldKinds {
		want.Kinds[k] = 0
	}
	require.Equal(t, want, counts(ann))
	var ids []apitoken.ID
	for _, k := range worldKinds {
		ids = append(ids, w.issue(k).Token.ID)
		want.Kinds[k]++
		want.Total++
		require.Equal(t, want, counts(ann))
	}
	w.Agents.Remove("acme", "bot")
	want.Suspicious = 1
	require.Equal(t, want, counts(ann))
	w.Clock.Advance(1000 * day) // expired and idle ones are on record still
	require.Equal(t, want, counts(ann))
	require.NoError(t, w.Service.Delete(t.Context(), ann, ids[2], ""))
	want.Kinds[agent], want.Suspicious, want.Total = 0, 0, want.Total-1
	require.Equal(t, want, counts(ann))
	require.Equal(t, apitoken.Counts{Kinds: map[apitoken.Kind]int{plain: 0, user: 0, agent: 0, fixed: 0, personal: 0, shared: 0, node: 0, legacy: 0}}, counts(zoe))
	require.NotContains(t, counts(bob).Kinds, shared, "nobody learns how many there are of what he cannot see")
	require.Zero(t, counts(bob).Kinds[personal])
}

// A cursor carries the first page's instant, so that states do not shift between
// pages, and belongs to one query.
func TestCursor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 4 {
		w.Clock.Advance(time.Second)
		w.issue(fixed)
	}
	q := apitoken.ListQuery{Status: apitoken.StatusActive, Limit: 2}
	first := must(w.Service.List(t.Context(), ann, q))
	w.Clock.Advance(92 * day)
	q.Cursor = first.Next
	second := must(w.Service.List(t.Context(), ann, q))
	require.Len(t, second.Tokens, 2)
	require.Empty(t, second.Next)
	for _, v := range append(first.Tokens, second.Tokens...) {
		require.Equal(t, apitoken.StatusActive, v.Status)
		require.Equal(t, apitoken.ColorGrey, v.Color)
	}
	require.Empty(t, w.list(ann, apitoken.ListQuery{Status: apitoken.StatusActive}))

	for name, change := range map[string]func(*apitoken.ListQuery){
		"sort":    func(q *apitoken.ListQuery) { q.Sort = apitoken.SortName },
		"desc":    func(q *apitoken.ListQuery) { q.Desc = true },
		"filter":  func(q *apitoken.ListQuery) { q.Owner = "ann" },
		"damage":  func(q *apitoken.ListQuery) { q.Cursor = q.Cursor[:len(q.Cursor)-4] },
		"garbage": func(q *apitoken.ListQuery) { q.Cursor = base64.RawURLEncoding.EncodeToString([]byte(`{"n":"x"}`)) },
		"huge":    func(q *apitoken.ListQuery) { q.Cursor = long(1 << 20) },
	} {
		bad := q
		change(&bad)
		_, err := w.Service.List(t.Context(), ann, bad)
		require.Equal(t, []string{"cursor"}, wrongFields(err), name)
	}
	q.Limit = 1 // another page size is the same query
	require.Len(t, must(w.Service.List(t.Context(), ann, q)).Tokens, 1)
	// Somebody else's cursor shows nothing that is not one's own.
	require.Empty(t, must(w.Service.List(t.Context(), zoe, q)).Tokens)
}

// An old cursor, or one that was given an old instant by hand, shows no token that
// is gone by now.
func TestCursorShowsNothingThatIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 4 {
		id := w.issue(shared).Token.ID
		must(w.Service.Disable(t.Context(), ann, id, ""))
	}
	w.Clock.Advance(time.Second) // the last in the list
	kept := w.issue(shared).Token.ID
	q := apitoken.ListQuery{Limit: 1}
	q.Cursor = must(w.Service.List(t.Context(), ann, q)).Next
	w.Clock.Advance(week)
	page := must(w.Service.List(t.Context(), ann, q))
	require.Len(t, page.Tokens, 1)
	require.Equal(t, kept, page.Tokens[0].ID)
}

// S1.16, S1.24, S2.23, S2.35: what a list and Get say of each token. S1.4,
// S1.18: its value is not among it.
func TestListSaysWhatIsKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot, term, switchable := w.issue(agent), w.issueTo(bob, fixed), w.issue(shared, func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresIn(day) })
	w.Agents.SetActive("acme", "bot", true)
	w.Clock.Advance(time.Hour)
	w.Verify(bot.Secret)
	used := w.Clock.Now()
	w.Agents.SetActive("acme", "bot", false)
	byID := func() map[apitoken.ID]apitoken.View {
		views := map[apitoken.ID]apitoken.View{}
		for v, err := range w.Service.All(t.Context(), ann, apitoken.ListQuery{}) {
			require.NoError(t, err)
			require.Equal(t, w.get(v.ID), v, "List and Get agree")
			views[v.ID] = v
		}
		return views
	}
	views := byID()
	v := views[bot.Token.ID]
	require.EqualValues(t, 1, v.Usage.Uses)
	require.Equal(t, used, v.Usage.LastUsed)
	require.Equal(t, &apitoken.Registration{Registered: true, Kind: "sensor", Name: "Bot"}, v.AgentState)
	require.Equal(t, apitoken.StatusSuspended, v.Status)
	v = views[term.Token.ID]
	require.Equal(t, []string{"north"}, v.Resources.Groups)
	require.False(t, v.Expired)
	require.Equal(t, v.ExpiresAt, v.EndsAt)
	require.Equal(t, apitoken.StatusActive, views[switchable.Token.ID].Status)

	w.Clock.Advance(92 * day)
	views = map[apitoken.ID]apitoken.View{term.Token.ID: w.get(term.Token.ID), bot.Token.ID: w.get(bot.Token.ID)}
	v = views[term.Token.ID]
	require.True(t, v.Expired)
	require.False(t, v.Editable)
	require.Equal(t, apitoken.StatusExpired, v.Status)
	require.Equal(t, apitoken.StatusRevoked, views[bot.Token.ID].Status)
	require.Equal(t, apitoken.CauseIdle, views[bot.Token.ID].Cause)
	require.Len(t, byID(), 2, "the switchable one is gone, swept or not")
	// What Get returned is the caller's: changing it changes nothing.
	v.Resources.Groups[0] = "changed"
	require.Equal(t, []string{"north"}, w.get(term.Token.ID).Resources.Groups)
}

// S1.26: find one by its value, in every state still on record; nothing is
// counted.
func TestFindBySecret(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(w *world, id apitoken.ID){
		"active":         func(*world, apitoken.ID) {},
		"disabled":       func(w *world, id apitoken.ID) { must(w.Service.Disable(t.Context(), ann, id, "")) },
		"revoked":        func(w *world, id apitoken.ID) { _ = w.Service.Revoke(t.Context(), ann, id, "") },
		"expired":        func(w *world, _ apitoken.ID) { w.Clock.Advance(2 * day) },
		"expired, swept": func(w *world, _ apitoken.ID) { w.Clock.Advance(2 * day); w.sweep() },
		"rotated":        func(w *world, id apitoken.ID) { w.rotate(ann, id, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			issued := w.issue(shared, func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresIn(day) })
			change(w, issued.Token.ID)
			value := issued.Secret.Reveal()
			v, err := w.Service.FindBySecret(t.Context(), ann, value)
			require.NoError(t, err)
			require.Equal(t, w.get(issued.Token.ID), v)
			require.Zero(t, v.Usage.Uses)
			for _, c := range []struct {
				actor apitoken.Actor
				value string
			}{
				{zoe, value}, {bob, value}, {ann, swapSecret(value, w.issue(plain).Secret.Reveal())}, {ann, value[:len(value)-1]}, {ann, ""}, {ann, long(1 << 16)},
			} {
				v, err := w.Service.FindBySecret(t.Context(), c.actor, c.value)
				oneFamily(t, err, apitoken.ErrNotFound)
				require.Zero(t, v)
			}
			require.NoError(t, w.Service.Flush(t.Context()))
			require.Zero(t, w.stored(issued.Token.ID).Token.Usage.Uses)
		})
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.issueTo(bob, personal).Token.ID
	must(w.Service.Edit(t.Context(), bob, id, apitoken.EditRequest{Name: ptr("two")}))
	must(w.Service.Disable(t.Context(), ann, id, ""))
	require.NoError(t, w.Service.Delete(t.Context(), ann, id, ""))
	must(w.Service.EditOrigins(t.Context(), ann, apitoken.OriginsRequest{Origins: []string{"https://a.example"}}))
	history := func(a apitoken.Actor, id apitoken.ID) (types []apitoken.EventType, err error) {
		for e, err := range w.Service.History(t.Context(), a, id) {
			if err != nil {
				return types, err
			}
			types = append(types, e.Type)
		}
		return types, nil
	}
	all := []apitoken.EventType{apitoken.EventCreated, apitoken.EventEdited, apitoken.EventDisabled, apitoken.EventDeleted}
	for _, c := range []struct {
		actor apitoken.Actor
		id    apitoken.ID
		want  []apitoken.EventType
		err   error
	}{
		{bob, id, all, nil}, {ann, id, all, nil}, {system, id, all, nil},
		{eve, id, nil, apitoken.ErrNotFound}, {zoe, id, nil, apitoken.ErrNotFound},
		{ann, "", []apitoken.EventType{apitoken.EventOrigins}, nil}, {zoe, "", nil, nil},
	} {
		got, err := history(c.actor, c.id)
		require.ErrorIs(t, err, c.err)
		require.Equal(t, c.want, got, c.actor.ID)
	}
	for range w.Service.History(t.Context(), ann, id) {
		break // a reader may stop
	}
}

// Lists and counts of more agents than a page holds, of which few are suspicious;
// a history longer than a page; a reader who stops.
func TestListsOfMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 1100
	for i := range n {
		name := fmt.Sprintf("bot%04d", i)
		w.Agents.Set("acme", name, apitoken.Registration{Registered: true, Kind: "sensor"})
		w.issue(agent, func(r *apitoken.IssueRequest) { r.Agent, r.Name = name, name })
		if i%400 == 399 {
			w.Agents.Remove("acme", name)
		}
	}
	want := []string{"bot0399", "bot0799"}
	require.Equal(t, want, w.list(ann, apitoken.ListQuery{Suspicious: true, Sort: apitoken.SortName}))
	require.Equal(t, want, w.list(ann, apitoken.ListQuery{Suspicious: true, Sort: apitoken.SortName, Limit: 1}))
	for _, desc := range []bool{false, true} {
		all := w.list(ann, apitoken.ListQuery{Sort: apitoken.SortHealth, Desc: desc, Limit: 499})
		require.Len(t, all, n)
		first := slices.Sorted(slices.Values(all[:2]))
		last := slices.Sorted(slices.Values(all[n-2:]))
		require.Equal(t, want, map[bool][]string{false: first, true: last}[desc])
		require.Len(t, slices.Compact(slices.Sorted(slices.Values(all))), n, "each once")
	}
	require.Equal(t, 2, must(w.Service.Counts(t.Context(), ann)).Suspicious)
	for v := range w.Service.All(t.Context(), ann, apitoken.ListQuery{}) {
		require.NotEmpty(t, v.ID)
		break
	}
	id := w.issue(shared).Token.ID
	for i := range 600 {
		must(w.Service.Edit(t.Context(), ann, id, apitoken.EditRequest{Name: ptr(fmt.Sprint(i))}))
	}
	events := 0
	for e, err := range w.Service.History(t.Context(), ann, id) {
		require.NoError(t, err)
		events++
		require.EqualValues(t, events, e.Version)
	}
	require.Equal(t, 601, events)
}
