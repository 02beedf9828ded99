package apitoken_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

// lockedBuffer is a buffer for a logger.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// P9, S1.4, S1.18, S2.15, S2.30: a secret is in the result of Issue and Rotate
// and nowhere else: not in the store, the log at debug, an event, a notification,
// an error, a view, or anything printed.
func TestNoSecretLeaks(t *testing.T) {
	t.Parallel()
	var out lockedBuffer
	w := newWorld(t, func(o *apitoken.Options) {
		o.Logger = slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}))
		o.Limits = map[string]apitoken.Limit{"api": {Quota: 1, Window: time.Hour}}
		personal := o.Kinds[shared]
		personal.RevokeOnReuse = true
		o.Kinds[shared] = personal
		o.Keyring = keyring("one")
	})
	var canaries []string
	secretOf := func(value string) string { return value[len(value)-49 : len(value)-6] }
	show := func(v ...any) {
		for _, x := range v {
			text, err := json.Marshal(x)
			fmt.Fprintf(&out, "%v %+v %#v %s %s %v\n", x, x, x, x, text, err)
			w.Options.Logger.Debug("debug", "value", x)
		}
	}
	keep := func(i apitoken.Issued) string {
		show(i, &i, i.Secret, &i.Secret, struct{ hidden apitoken.Issued }{i}, map[string]any{"issued": i}, []apitoken.Secret{i.Secret})
		if text, err := i.Secret.MarshalBinary(); err == nil {
			out.Write(text)
		}
		err := gob.NewEncoder(&out).Encode(struct{ S apitoken.Secret }{i.Secret})
		show(err)
		canaries = append(canaries, secretOf(i.Secret.Reveal()))
		return i.Secret.Reveal()
	}
	for round := range 60 {
		for _, kind := range worldKinds {
			signs := kind == fixed && round%2 == 0
			issued := w.issue(kind, func(r *apitoken.IssueRequest) {
				r.Symmetric = signs
				if kind == legacy {
					pair := fmt.Sprintf("an older secret, number %06d of many", round)
					r.Legacy = apitoken.LegacyCredential{ID: fmt.Sprint("uuid-", round), Secret: apitoken.NewSecret(pair)}
					canaries = append(canaries, pair)
					show(r, *r)
				}
			})
			value := keep(issued)
			id := issued.Token.ID
			bad := []string{value + "x", value[:len(value)-1], " " + value, "Bearer " + value, swapSecret(value, w.issue(plain).Secret.Reveal())}
			for _, token := range append(bad, value) {
				req := apitoken.VerifyRequest{Token: token, Need: worldCatalog.MustRequire("scripts:run"), Limits: []string{"api"}}
				p, err := w.Service.Verify(t.Context(), req)
				show(p, err)
				show(w.Service.Explain(t.Context(), ann, apitoken.ExplainRequest{Verify: req}))
				show(w.Service.FindBySecret(t.Context(), ann, token))
			}
			if kind == legacy {
				for _, pair := range []string{canaries[len(canaries)-2], canaries[len(canaries)-2] + "x"} {
					p, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{LegacyID: fmt.Sprint("uuid-", round), LegacySecret: pair})
					show(p, err)
					_, err = w.Service.Issue(t.Context(), ann, apitoken.IssueRequest{Kind: legacy, Name: "again", Legacy: apitoken.LegacyCredential{ID: fmt.Sprint("uuid-", round), Secret: apitoken.NewSecret(pair)}})
					show(err)
				}
			}
			if signs {
				for _, change := range []func(*apitoken.Proof){func(*apitoken.Proof) {}, func(p *apitoken.Proof) { p.Signature[0] ^= 1 }} {
					proof := w.proof(holder{token: id, secret: value}, "text", change)
					p, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{Proof: proof})
					show(p, err)
					show(w.Service.Explain(t.Context(), ann, apitoken.ExplainRequest{Verify: apitoken.VerifyRequest{Proof: proof}}))
				}
			}
			for _, part := range []func(error){w.Owners.Fail, w.Notifier.Fail} {
				part(fmt.Errorf("down"))
				_, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: value})
				show(err)
				_, err = w.Service.Deliver(t.Context())
				show(err)
				part(nil)
			}
			if rotated, err := w.Service.Rotate(t.Context(), ann, id, apitoken.RotateRequest{IdempotencyKey: "k"}); err == nil {
				keep(rotated)
				_, err = w.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: value}) // reuse
				show(err)
				_, err = w.Service.Rotate(t.Context(), ann, id, apitoken.RotateRequest{IdempotencyKey: "k"})
				show(err)
			}
			w.Store.LoseAnswer(0)
			_, err := w.Service.Rotate(t.Context(), ann, id, apitoken.RotateRequest{IdempotencyKey: "k2"})
			show(err)
			w.Store.Reset()
			for _, call := range tokenCalls {
				show(call.do(t.Context(), w.Service, ann, id))
			}
		}
	}
	w.Clock.Advance(100 * day)
	w.sweep()
	_, err := w.Service.Deliver(t.Context())
	require.NoError(t, err)
	show(w.Notifier.Told())
	for v, err := range w.Service.All(t.Context(), ann, apitoken.ListQuery{Limit: 500}) {
		show(v, err)
		for e, err := range w.Service.History(t.Context(), ann, v.ID) {
			show(e, err)
		}
	}
	show(w.Service)
	text := out.b.String() + w.dump()
	require.Greater(t, len(canaries), 900)
	require.Contains(t, text, "event not delivered", "the log was listened to")
	found := make([]string, 0, 2*len(canaries)) // all are looked for in one pass
	for _, canary := range canaries {
		found = append(found, canary, "LEAKED")
	}
	require.NotContains(t, strings.NewReplacer(found...).Replace(text), "LEAKED", "of %d canaries", len(canaries))
	require.Contains(t, strings.NewReplacer(found...).Replace(canaries[0]), "LEAKED")
}
