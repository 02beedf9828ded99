package apitoken_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/memstore"
)

// sample is a token string that no store knows.
func sample(prefix string) string {
	return apitoken.FormatToken(prefix, "0000000000000000000abc", strings.Repeat("Secret7", 6)+"x")
}

// matches are the token strings that Scan finds.
func matches(text string) []string {
	var all []string
	for m := range apitoken.Scan(text) {
		all = append(all, text[m.Start:m.End])
	}
	return all
}

// No false negatives: whatever stands around a token does not hide it.
func TestScanFindsTokensInText(t *testing.T) {
	t.Parallel()
	surroundings := map[string]string{
		"alone":                    "%s",
		"JSON":                     `{"token":"%s","x":1}`,
		"JSON in JSON":             `{"body":"{\"token\":\"%s\"}"}`,
		"escaped line break":       `"line\n%s\n"`,
		"escaped tab and Unicode":  `"\t%s\u0022"`,
		"URL":                      "https://api.example/v1?access_token=%s&x=1#top",
		"URL, encoded":             "https://api.example/cb%%3Ftoken%%3D%s%%26x",
		"URL, encoded digits":      "x%%20%s%%22",
		"user of a URL":            "https://%s@git.example/repo.git",
		"quotes":                   "export TOKEN='%s'; echo \"$TOKEN\" `%[1]s`",
		"header":                   "Authorization: Bearer %s\r\nHost: api.example\r\n",
		"words joined before":      "my_secret_%s",
		"words joined after":       "%s_old_value",
		"words joined around":      "MY_%s_x_",
		"underscores":              "____%s____",
		"two underscores":          "x__%s",
		"letters right before":     "tokenis%s",
		"digits right before":      "12345%s",
		"capitals right before":    "TOKEN%s",
		"base62 right after":       "%sABCxyz019",
		"twice without a gap":      "%s%[1]s",
		"a body before":            strings.Repeat("A", 71) + "%s",
		"a false body before":      "x_" + strings.Repeat("a", 71) + "%s",
		"not UTF-8":                "\xff\xfe%s\x00\x80",
		"other scripts":            "токен«%s»令牌",
		"begins like another":      "acme_%s",
		"cut off one before":       "acme_0000000000000000000abcSecret%s",
		"a long line":              strings.Repeat("x", 100_000) + " %s " + strings.Repeat("_y", 50_000),
		"a prefix of 64 and more ": strings.Repeat("x_", 80) + "%s",
	}
	for _, prefix := range []string{"a", "acme", "acme_live", "acme_2x_9", strings.Repeat("p", 64)} {
		token := sample(prefix)
		for name, format := range surroundings {
			text := fmt.Sprintf(format, token)
			require.Contains(t, matches(text), token, "%s: %s", prefix, name)
			require.Len(t, matches(text), strings.Count(text, token), "%s: %s", prefix, name)
		}
	}
}

func TestScanPassesOverOthers(t *testing.T) {
	t.Parallel()
	token := sample("acme")
	for name, text := range map[string]string{
		"nothing":              "",
		"prose":                "no_token stands_here, only_words and __init__",
		"a prefix":             "acme_",
		"cut short":            token[:len(token)-1],
		"without its prefix":   token[len("acme"):],
		"another prefix":       "other" + token[len("acme"):],
		"upper case":           strings.ToUpper(token),
		"lower case":           strings.ToLower(token),
		"broken into lines":    token[:40] + "\n" + token[40:],
		"underscore encoded":   strings.Replace(token, "_", "%5F", 1),
		"body without a token": "acme_" + strings.Repeat("0", 71),
		"prefix too long":      sample(strings.Repeat("p", 65)),
		"prefix of capitals":   sample("Acme"),
		"prefix from a digit":  sample("9"),
		"double underscore":    sample("acme__live"),
		"underscore at an end": sample("acme_"),
		"no prefix":            sample(""),
		"other characters":     sample("ac-me")[:3] + "_" + strings.Repeat("é", 36),
	} {
		require.Empty(t, matches(text), name)
	}
	for i := range token {
		for _, c := range "aZ0_-" {
			damaged := token[:i] + string(c) + token[i+1:]
			if damaged != token {
				require.NotContains(t, matches(damaged), damaged)
			}
		}
	}
}

func TestScanTellsWhereAndWhat(t *testing.T) {
	t.Parallel()
	one, two := sample("acme"), sample("old_name")
	text := "first " + one + ", then «" + two + "»"
	found := slices.Collect(apitoken.Scan(text))
	require.Equal(t, []apitoken.Match{
		{Start: 6, End: 6 + len(one), Prefix: "acme", Token: "0000000000000000000abc"},
		{Start: 6 + len(one) + 9, End: 6 + len(one) + 9 + len(two), Prefix: "old_name", Token: "0000000000000000000abc"},
	}, found)
	require.Equal(t, "acme_0000…", found[0].Hint())
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", found, found, found), "Secret7", "a Match holds no secret")
	for m := range apitoken.Scan(text) {
		require.Equal(t, found[0], m)
		break // one can stop at any time
	}
}

// A Service looks for its own prefixes only: of kinds, older and present ones.
func TestScanOfAService(t *testing.T) {
	t.Parallel()
	s, err := apitoken.New(memstore.New(), apitoken.Options{
		Prefix: "acme", OldPrefixes: []string{"old"}, DefaultKind: "a",
		Kinds: map[apitoken.Kind]apitoken.Policy{"a": {}, "b": {Prefix: "acme_b"}},
	})
	require.NoError(t, err)
	for prefix, want := range map[string]int{"acme": 1, "old": 1, "acme_b": 1, "b": 0, "other": 0, "xacme": 0} {
		text := "x_" + sample(prefix) + "_x" + sample(prefix)
		found := slices.Collect(s.Scan(text))
		require.Len(t, found, 2*want, prefix)
		for _, m := range found {
			require.Equal(t, prefix, m.Prefix)
			require.Equal(t, sample(prefix), text[m.Start:m.End])
		}
		for range s.Scan(text) {
			break
		}
	}
}

// Not parallel: it counts allocations.
func TestScanAllocatesForWhatItFindsOnly(t *testing.T) {
	noise := strings.Repeat("some_words and_"+strings.Repeat("x", 71)+" ", 10_000)
	for _, count := range []int{0, 3} {
		text := noise + strings.Repeat(sample("acme")+" ", count)
		allocs := testing.AllocsPerRun(10, func() {
			found := 0
			for range apitoken.Scan(text) {
				found++
			}
			if found != count {
				t.Errorf("found %d of %d", found, count)
			}
		})
		require.LessOrEqual(t, allocs, float64(4+2*count))
	}
}

// FuzzScan compares Scan with trying every slice of the text.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{"", "_", "__", "x_", `{"t":"`, "acme", "my_acme_", "\\n", "%20", "Aa", sample("acme"), sample("b")[:70], "_" + strings.Repeat("0", 71), "\xff"} {
		f.Add(seed, "acme", seed)
		f.Add("", seed, "_x")
	}
	f.Fuzz(func(t *testing.T, before, prefix, after string) {
		if len(before)+len(after) > 2000 {
			return
		}
		text := before + after
		if apitoken.ValidPrefix(prefix) {
			text = before + sample(prefix) + after
			if !slices.Contains(matches(text), sample(prefix)) {
				t.Fatalf("not found in %q", text)
			}
		}
		var want, got []string
		for start := range text {
			for end := start + 73; end <= min(start+136, len(text)); end++ {
				if p, _, _, ok := apitoken.ParseToken(text[start:end]); ok && apitoken.ValidPrefix(p) {
					want = append(want, fmt.Sprint(start, end))
				}
			}
		}
		for m := range apitoken.Scan(text) {
			got = append(got, fmt.Sprint(m.Start, m.End))
			if id := apitoken.ID(text[m.Start+len(m.Prefix)+1:][:22]); m.Token != id || text[m.Start:m.Start+len(m.Prefix)] != m.Prefix {
				t.Fatalf("%+v in %q", m, text)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(want, got) {
			t.Fatalf("found %v, there are %v in %q", got, want, text)
		}
	})
}

func BenchmarkScan(b *testing.B) {
	for name, text := range map[string]string{
		"prose":   strings.Repeat("func (s *Service) scan_text(in string) error { return nil }\n", 2000),
		"hostile": strings.Repeat(strings.Repeat("p", 64)+"_"+strings.Repeat("0", 71), 1000),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				for range apitoken.Scan(text) {
					b.Fatal("found")
				}
			}
		})
	}
}

const place = "https://git.example/acme/app/blob/1/config.yml"

var finder = apitoken.DangerouslyCrossTenant("secret-scanning")

func (w *world) leak(value apitoken.Secret, where string) apitoken.Leak {
	w.t.Helper()
	leak, err := w.Service.ReportLeak(w.t.Context(), finder, apitoken.LeakReport{Value: value, Where: where})
	require.NoError(w.t, err)
	return leak
}

func onLeak(action apitoken.LeakAction) func(*apitoken.Options) {
	return with(plain, func(p *apitoken.Policy) { p.OnLeak = action })
}

func TestReportLeakByPolicy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		action apitoken.LeakAction
		state  apitoken.State
		cause  apitoken.Cause
		refuse error
		event  apitoken.EventType
	}{
		{"", apitoken.StateRevoked, apitoken.CauseLeak, apitoken.ErrRevoked, apitoken.EventRevoked},
		{apitoken.LeakDisables, apitoken.StateDisabled, apitoken.CauseLeak, apitoken.ErrDisabled, apitoken.EventDisabled},
		{apitoken.LeakNotifies, apitoken.StateActive, "", nil, ""},
	} {
		t.Run(string(c.action), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, onLeak(c.action))
			issued := w.issue(plain)
			leak := w.leak(issued.Secret, place)
			require.False(t, leak.Replaced)
			require.False(t, leak.Repeated)
			require.Equal(t, issued.Token.ID, leak.Token.ID)
			require.Equal(t, c.state, leak.Token.State)
			require.Equal(t, c.cause, leak.Token.Cause)
			require.Equal(t, leak.Token, w.get(issued.Token.ID))
			require.ErrorIs(t, w.verify(issued.Secret), c.refuse)

			events := w.events(issued.Token.ID)[1:]
			want := []apitoken.EventType{apitoken.EventLeaked}
			if c.event != "" {
				want = append(want, c.event)
			}
			require.Equal(t, want, eventTypes(events))
			for _, e := range events {
				require.Equal(t, place, e.Reason)
				require.Equal(t, apitoken.CauseLeak, e.Cause)
				require.Equal(t, apitoken.Party{Type: apitoken.PartySystem, ID: "secret-scanning"}, e.Actor)
				require.Equal(t, "acme", e.Tenant)
			}
			require.Equal(t, want, func() (told []apitoken.EventType) {
				for _, n := range w.deliver()[1:] {
					told = append(told, n.Event.Type)
				}
				return told
			}(), "the Notifier is told")
		})
	}
}

// In each state the leak is told of, and nothing comes back to life.
func TestReportLeakInEveryState(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		kind   apitoken.Kind
		action apitoken.LeakAction
		bring  func(w *world, id apitoken.ID)
		state  apitoken.State
		cause  apitoken.Cause
		events []apitoken.EventType // after those that brought it there
	}{
		{"revoked", plain, "", func(w *world, id apitoken.ID) { require.NoError(w.t, w.Service.Revoke(w.t.Context(), ann, id, "")) },
			apitoken.StateRevoked, apitoken.CauseByHand, []apitoken.EventType{apitoken.EventLeaked}},
		{"disabled", plain, "", func(w *world, id apitoken.ID) { must(w.Service.Disable(w.t.Context(), ann, id, "")) },
			apitoken.StateRevoked, apitoken.CauseLeak, []apitoken.EventType{apitoken.EventLeaked, apitoken.EventRevoked}},
		{"disabled, and to be disabled", plain, apitoken.LeakDisables, func(w *world, id apitoken.ID) { must(w.Service.Disable(w.t.Context(), ann, id, "")) },
			apitoken.StateDisabled, apitoken.CauseByHand, []apitoken.EventType{apitoken.EventLeaked}},
		{"revoked, and to be disabled", plain, apitoken.LeakDisables, func(w *world, id apitoken.ID) { require.NoError(w.t, w.Service.Revoke(w.t.Context(), ann, id, "")) },
			apitoken.StateRevoked, apitoken.CauseByHand, []apitoken.EventType{apitoken.EventLeaked}},
		{"expired", fixed, "", func(w *world, _ apitoken.ID) { w.Clock.Advance(91 * day) },
			apitoken.StateRevoked, apitoken.CauseLeak, []apitoken.EventType{apitoken.EventExpiring, apitoken.EventExpired, apitoken.EventLeaked, apitoken.EventRevoked}},
		{"expired, and to be disabled", fixed, apitoken.LeakDisables, func(w *world, _ apitoken.ID) { w.Clock.Advance(91 * day) },
			apitoken.StateActive, "", []apitoken.EventType{apitoken.EventExpiring, apitoken.EventExpired, apitoken.EventLeaked}},
		{"idle, not swept yet", user, "", func(w *world, _ apitoken.ID) { w.Clock.Advance(31 * day) },
			apitoken.StateRevoked, apitoken.CauseIdle, []apitoken.EventType{apitoken.EventRevoked, apitoken.EventLeaked}},
		{"of an inactive owner", personal, "", func(w *world, _ apitoken.ID) { w.Owners.SetActive("acme", "ann", false) },
			apitoken.StateRevoked, apitoken.CauseLeak, []apitoken.EventType{apitoken.EventLeaked, apitoken.EventRevoked}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, with(c.kind, func(p *apitoken.Policy) { p.OnLeak = c.action }))
			issued := w.issue(c.kind)
			c.bring(w, issued.Token.ID)
			before := len(w.events(issued.Token.ID))
			leak := w.leak(issued.Secret, place)
			require.Equal(t, c.state, leak.Token.State)
			require.Equal(t, c.cause, leak.Token.Cause)
			require.Equal(t, c.events, eventTypes(w.events(issued.Token.ID)[before:]))
			require.Error(t, w.verify(issued.Secret))
		})
	}
}

// What time is to have deleted is not found, and a kind that nobody configures
// any more falls under the zero policy.
func TestReportLeakOfWhatIsGoneOrOrphaned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gone := w.issue(shared)
	must(w.Service.Disable(t.Context(), ann, gone.Token.ID, ""))
	w.Clock.Advance(week)
	_, err := w.Service.ReportLeak(t.Context(), finder, apitoken.LeakReport{Value: gone.Secret, Where: place})
	require.Equal(t, apitoken.ErrNotFound, err)

	orphan := w.issue(node)
	delete(w.Options.Kinds, node)
	w.Options.Uses = nil
	leak, err := w.Node().ReportLeak(t.Context(), finder, apitoken.LeakReport{Value: orphan.Secret, Where: place})
	require.NoError(t, err)
	require.Equal(t, apitoken.StateRevoked, leak.Token.State)
}

// The same value from the same place is one leak, whoever reports it again.
func TestReportLeakOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onLeak(apitoken.LeakDisables))
	issued := w.issue(plain)
	id := issued.Token.ID
	w.leak(issued.Secret, place)
	for _, node := range []*apitoken.Service{w.Service, w.Node()} {
		leak, err := node.ReportLeak(t.Context(), ann, apitoken.LeakReport{Value: issued.Secret, Where: place})
		require.NoError(t, err)
		require.True(t, leak.Repeated)
	}
	require.Len(t, w.events(id), 3)

	// A person looked at it and enabled it: a partner that sends its alert again
	// does not undo that, a new place does.
	must(w.Service.Enable(t.Context(), ann, id, apitoken.EnableRequest{}))
	require.True(t, w.leak(issued.Secret, place).Repeated)
	require.NoError(t, w.verify(issued.Secret))
	require.False(t, w.leak(issued.Secret, place+"#2").Repeated)
	require.ErrorIs(t, w.verify(issued.Secret), apitoken.ErrDisabled)

	// Another value at the same place is another leak.
	must(w.Service.Enable(t.Context(), ann, id, apitoken.EnableRequest{}))
	rotated := must(w.Service.Rotate(t.Context(), ann, id, apitoken.RotateRequest{IdempotencyKey: "r"}))
	require.True(t, w.leak(issued.Secret, place).Repeated, "the value before was reported")
	require.NoError(t, w.verify(rotated.Secret))
	require.False(t, w.leak(rotated.Secret, place).Repeated)
	require.ErrorIs(t, w.verify(rotated.Secret), apitoken.ErrDisabled)
}

// Two nodes at once: one of them writes it.
func TestReportLeakRace(t *testing.T) {
	t.Parallel()
	for range forced {
		w := newWorld(t)
		issued := w.issue(plain)
		other := w.Node()
		w.between("Events", func() {
			leak, err := other.ReportLeak(t.Context(), finder, apitoken.LeakReport{Value: issued.Secret, Where: place})
			require.NoError(t, err)
			require.False(t, leak.Repeated)
		})
		require.True(t, w.leak(issued.Secret, place).Repeated)
		require.Equal(t, []apitoken.EventType{apitoken.EventCreated, apitoken.EventLeaked, apitoken.EventRevoked}, eventTypes(w.events(issued.Token.ID)))
	}
}

func TestReportLeakOfReplacedValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		overlap bool
		policy  func(p *apitoken.Policy)
		old     error // what the old value gets afterwards
		new     error
		changed []string // of the event
	}{
		{"it is dead", false, func(*apitoken.Policy) {}, apitoken.ErrSuperseded, nil, nil},
		{"it still works", true, func(*apitoken.Policy) {}, apitoken.ErrSuperseded, nil, []string{"overlap"}},
		{"it still works, disables", true, func(p *apitoken.Policy) { p.OnLeak = apitoken.LeakDisables }, apitoken.ErrSuperseded, nil, []string{"overlap"}},
		{"it still works, notifies", true, func(p *apitoken.Policy) { p.OnLeak = apitoken.LeakNotifies }, nil, nil, nil},
		{"reuse revokes", false, func(p *apitoken.Policy) { p.RevokeOnReuse = true }, apitoken.ErrSuperseded, apitoken.ErrRevoked, nil},
		{"reuse revokes, it still works", true, func(p *apitoken.Policy) { p.RevokeOnReuse = true }, apitoken.ErrRevoked, apitoken.ErrRevoked, nil},
		{"reuse revokes, but leaks disable", true, func(p *apitoken.Policy) { p.RevokeOnReuse, p.OnLeak = true, apitoken.LeakDisables }, apitoken.ErrDisabled, apitoken.ErrDisabled, nil},
		{"reuse revokes, but leaks notify", true, func(p *apitoken.Policy) { p.RevokeOnReuse, p.OnLeak = true, apitoken.LeakNotifies }, nil, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, with(plain, c.policy))
			old := w.issue(plain)
			req := apitoken.RotateRequest{IdempotencyKey: "r"}
			if c.overlap {
				req.Overlap = day
			}
			rotated := must(w.Service.Rotate(t.Context(), ann, old.Token.ID, req))
			w.Clock.Advance(1)
			leak := w.leak(old.Secret, place)
			require.True(t, leak.Replaced)
			require.ErrorIs(t, w.verify(old.Secret), c.old)
			require.ErrorIs(t, w.verify(rotated.Secret), c.new)
			events := w.events(old.Token.ID)
			require.Equal(t, apitoken.EventLeaked, events[2].Type)
			require.Equal(t, c.changed, events[2].Changed)
			require.True(t, w.leak(old.Secret, place).Repeated)
		})
	}
}

// A value known to be leaked is replaced with an overlap, and found again where
// it was: the overlap ends, though the place is an old one.
func TestReportLeakAgainDuringTheOverlap(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onLeak(apitoken.LeakNotifies))
	old := w.issue(plain)
	w.leak(old.Secret, place)
	rotated := must(w.Service.Rotate(t.Context(), ann, old.Token.ID, apitoken.RotateRequest{IdempotencyKey: "r", Overlap: day}))
	policy := w.Options.Kinds[plain]
	policy.OnLeak = apitoken.LeakRevokes
	w.Options.Kinds[plain] = policy
	leak, err := w.Node().ReportLeak(t.Context(), finder, apitoken.LeakReport{Value: old.Secret, Where: place})
	require.NoError(t, err)
	require.False(t, leak.Repeated)
	require.ErrorIs(t, w.verify(old.Secret), apitoken.ErrSuperseded)
	require.NoError(t, w.verify(rotated.Secret))
}

// S1.28: only a leak passes over an active agent, and the audit says so.
func TestReportLeakOfAnAgentsToken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		bring func(w *world)
		cause apitoken.Cause
	}{
		{"active", func(w *world) {}, apitoken.CauseLeakForced},
		{"agents do not answer", func(w *world) { w.Agents.Fail(apitokentest.ErrFault) }, apitoken.CauseLeakForced},
		{"not active", func(w *world) { w.Agents.SetActive("acme", "bot", false) }, apitoken.CauseLeak},
		{"not registered", func(w *world) { w.Agents.Remove("acme", "bot") }, apitoken.CauseLeak},
	} {
		for action, state := range map[apitoken.LeakAction]apitoken.State{"": apitoken.StateRevoked, apitoken.LeakDisables: apitoken.StateDisabled} {
			t.Run(c.name+" "+string(state), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, with(agent, func(p *apitoken.Policy) { p.OnLeak = action }))
				w.Agents.SetActive("acme", "bot", true)
				issued := w.issue(agent)
				_, refused := errors.AsType[*apitoken.StateError](w.Service.Revoke(t.Context(), ann, issued.Token.ID, ""))
				require.True(t, refused, "by hand it waits for the agent")
				c.bring(w)
				leak := w.leak(issued.Secret, place)
				require.Equal(t, state, leak.Token.State)
				require.Equal(t, c.cause, leak.Token.Cause)
				events := w.events(issued.Token.ID)
				require.Equal(t, c.cause, events[len(events)-1].Cause)
			})
		}
	}
}

// An unknown value, a damaged one and one of a token that the actor does not see
// get the same answer, and leave nothing behind.
func TestReportLeakTellsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anns, bobs, zoes := w.issue(plain), w.issueTo(bob, personal), w.IssueAs(zoe, apitoken.IssueRequest{Name: "z", Kind: plain})
	deleted := w.issue(plain)
	require.NoError(t, w.Service.Delete(t.Context(), ann, deleted.Token.ID, ""))
	before := w.dump()
	for name, c := range map[string]struct {
		actor apitoken.Actor
		value string
	}{
		"nothing":             {finder, ""},
		"noise":               {finder, "not a token"},
		"unknown":             {finder, sample("acme")},
		"deleted":             {finder, deleted.Secret.Reveal()},
		"damaged":             {finder, anns.Secret.Reveal()[1:]},
		"spaces around":       {finder, " " + anns.Secret.Reveal()},
		"overlong":            {finder, anns.Secret.Reveal() + strings.Repeat("x", 512)},
		"another secret":      {finder, swapSecret(anns.Secret.Reveal(), bobs.Secret.Reveal())},
		"another prefix":      {finder, apitoken.FormatToken("other", anns.Token.ID, anns.Secret.Reveal()[27:70])},
		"another tenant's":    {ann, zoes.Secret.Reveal()},
		"the other way round": {zoe, anns.Secret.Reveal()},
		"another person's":    {eve, bobs.Secret.Reveal()},
		"of a tenant's job":   {apitoken.System("job", "rival"), anns.Secret.Reveal()},
	} {
		leak, err := w.Service.ReportLeak(t.Context(), c.actor, apitoken.LeakReport{Value: apitoken.NewSecret(c.value), Where: place})
		require.True(t, err == apitoken.ErrNotFound, "%s: %v", name, err)
		require.Zero(t, leak, name)
	}
	require.Equal(t, before, w.dump())
	oneFamily(t, func() error {
		_, err := w.Service.ReportLeak(t.Context(), apitoken.Actor{ID: "ann"}, apitoken.LeakReport{Value: anns.Secret})
		return err
	}(), apitoken.ErrInvalid)
}

// Who sees a token may report it: its tenant's people in their tenant, a partner
// anywhere.
func TestReportLeakByWhom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, c := range map[string]struct {
		actor  apitoken.Actor
		issued apitoken.Issued
	}{
		"owner":          {bob, w.issueTo(bob, personal)},
		"manager":        {ann, w.issueTo(bob, personal)},
		"job":            {system, w.issue(shared)},
		"partner":        {finder, w.issue(node)},
		"partner, other": {finder, w.IssueAs(zoe, apitoken.IssueRequest{Name: "z", Kind: plain})},
	} {
		leak, err := w.Service.ReportLeak(t.Context(), c.actor, apitoken.LeakReport{Value: c.issued.Secret, Where: place})
		require.NoError(t, err, name)
		require.Equal(t, apitoken.StateRevoked, leak.Token.State, name)
	}
}

// What is wrong with the place is put right, and does not keep the token alive.
func TestReportLeakPlaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := sample("other")
	for name, c := range map[string]struct {
		where func(value string) string
		want  func(hint string) string
	}{
		"none":              {func(string) string { return "" }, func(string) string { return "" }},
		"control":           {func(string) string { return "a\x00b\nc\u202ed\u2028e" }, func(string) string { return "abcde" }},
		"not UTF-8":         {func(string) string { return "a\xffb" }, func(string) string { return "ab" }},
		"the token":         {func(v string) string { return "https://x.example/?t=" + v + "&y" }, func(h string) string { return "https://x.example/?t=" + h + "&y" }},
		"another token":     {func(string) string { return other + " " + other }, func(string) string { return "other_0000… other_0000…" }},
		"hidden by control": {func(v string) string { return v[:30] + "\u200f" + v[30:] }, func(h string) string { return h }},
		"hidden by bytes":   {func(v string) string { return v[:30] + "\xff" + v[30:] }, func(h string) string { return h }},
		"too long":          {func(string) string { return strings.Repeat("é", 1_000_000) }, func(string) string { return strings.Repeat("é", 1024) }},
		"too long, of tokens": {func(v string) string { return strings.Repeat(v, 5000) },
			func(h string) string { return string([]rune(strings.Repeat(h, 1024))[:1024]) }},
	} {
		t.Run(name, func(t *testing.T) {
			issued := w.issue(plain)
			leak := w.leak(issued.Secret, c.where(issued.Secret.Reveal()))
			require.Equal(t, c.want(issued.Token.Hint), leak.Token.Reason)
			require.Equal(t, leak.Token.Reason, w.events(issued.Token.ID)[1].Reason)
			require.NotContains(t, w.dump(), issued.Secret.Reveal()[27:70])
		})
	}
}

// A public value may be reported from everywhere: the history stays bounded, and
// the token is stopped all the same.
func TestReportLeakIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onLeak(apitoken.LeakNotifies))
	issued := w.issue(plain)
	for i := range 120 {
		w.leak(issued.Secret, fmt.Sprint("place ", i))
	}
	require.Len(t, w.events(issued.Token.ID), 101)
	policy := w.Options.Kinds[plain]
	policy.OnLeak = apitoken.LeakRevokes
	w.Options.Kinds[plain] = policy
	leak, err := w.Node().ReportLeak(t.Context(), finder, apitoken.LeakReport{Value: issued.Secret, Where: "place 120"})
	require.NoError(t, err)
	require.Equal(t, apitoken.StateRevoked, leak.Token.State)
}

// P4, P6: an outage is one, nothing is half done, and the report is repeated.
func TestReportLeakOutages(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 3; n++ { // Get, Events, Swap
		for _, lost := range []bool{false, true} {
			w := newWorld(t)
			issued := w.issue(plain)
			if lost {
				w.Store.LoseAnswer(n)
			} else {
				w.Store.FailCall(n)
			}
			leak, err := w.Service.ReportLeak(t.Context(), finder, apitoken.LeakReport{Value: issued.Secret, Where: place})
			if lost && n == 3 { // the write is found to have been made
				require.NoError(t, err)
				require.Equal(t, apitoken.StateRevoked, leak.Token.State)
			} else {
				oneFamily(t, err, apitoken.ErrUnavailable)
				require.Zero(t, leak)
				require.Len(t, w.events(issued.Token.ID), 1)
			}
			w.Store.Reset()
			w.leak(issued.Secret, place)
			require.Len(t, w.events(issued.Token.ID), 3)
		}
	}
}

func TestLeakPolicyFaults(t *testing.T) {
	t.Parallel()
	for action, want := range map[apitoken.LeakAction]int{"": 0, apitoken.LeakDisables: 0, apitoken.LeakNotifies: 1, "else": 1} {
		_, err := apitoken.New(memstore.New(), apitoken.Options{Kinds: map[apitoken.Kind]apitoken.Policy{"a": {OnLeak: action}}})
		require.Len(t, apitoken.Fields(err), want, action)
		if want > 0 {
			require.Equal(t, `Kinds["a"].OnLeak`, apitoken.Fields(err)[0].Field)
		}
	}
}

// A report of the value before a rotation is none of the value that replaced it,
// also from the same place.
func TestReportLeakOfBothValues(t *testing.T) {
	t.Parallel()
	for _, newFirst := range []bool{false, true} {
		w := newWorld(t)
		old := w.issue(plain)
		next, err := w.Service.Rotate(t.Context(), ann, old.Token.ID, apitoken.RotateRequest{Overlap: day, IfVersion: 1})
		require.NoError(t, err)
		values := []apitoken.Secret{old.Secret, next.Secret}
		if newFirst {
			slices.Reverse(values)
		}
		for _, value := range values {
			leak, err := w.Service.ReportLeak(t.Context(), system, apitoken.LeakReport{Value: value, Where: "the same place"})
			require.NoError(t, err)
			require.False(t, leak.Repeated)
		}
		require.Error(t, w.verify(old.Secret))
		require.Error(t, w.verify(next.Secret))
		for _, value := range values {
			require.True(t, must(w.Service.ReportLeak(t.Context(), system, apitoken.LeakReport{Value: value, Where: "the same place"})).Repeated)
		}
	}
}

// The overlap that a report ends is over for every clock: a node that is behind, or
// whose clock was set back, does not let the leaked value in again.
func TestReportLeakEndsTheOverlapForEveryClock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.issue(plain)
	next, err := w.Service.Rotate(t.Context(), ann, old.Token.ID, apitoken.RotateRequest{Overlap: day, IfVersion: 1})
	require.NoError(t, err)
	w.leak(old.Secret, place)
	w.Clock.Advance(-time.Minute)
	require.ErrorIs(t, w.verify(old.Secret), apitoken.ErrSuperseded)
	require.NoError(t, w.verify(next.Secret))
}
