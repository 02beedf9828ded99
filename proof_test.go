package apitoken_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/memstore"
)

// signing lets tokens of kind plain be used in every way, sealed by a keyring.
func signing(o *apitoken.Options) {
	with(plain, func(p *apitoken.Policy) {
		p.Schemes = []apitoken.Scheme{apitoken.SchemeBearer, apitoken.SchemeJWS, apitoken.SchemeJWT, apitoken.SchemeHTTPSignature}
	})(o)
	o.Keyring = keyring("one")
}

func keyring(ids ...string) *apitoken.Keyring {
	var keys []apitoken.SealingKey
	for _, id := range ids {
		sum := sha256.Sum256([]byte(id))
		keys = append(keys, apitoken.SealingKey{ID: id, Key: apitoken.NewSecret(string(sum[:]))})
	}
	k, err := apitoken.NewKeyring(keys...)
	if err != nil {
		panic(err)
	}
	return k
}

func pemOf(t testing.TB, key *ecdsa.PrivateKey) string {
	t.Helper()
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER(t, key)}))
}

// holder signs for a token: with a key or with a secret.
type holder struct {
	token  apitoken.ID
	key    *ecdsa.PrivateKey
	secret string
}

func (w *world) keySigner(change ...func(*apitoken.IssueRequest)) (holder, apitoken.Issued) {
	w.t.Helper()
	key := newKey(w.t, elliptic.P256())
	issued := w.issue(plain, append(change, func(r *apitoken.IssueRequest) { r.PublicKey = pemOf(w.t, key) })...)
	return holder{token: issued.Token.ID, key: key}, issued
}

func (w *world) secretSigner() (holder, apitoken.Issued) {
	w.t.Helper()
	issued := w.issue(plain, func(r *apitoken.IssueRequest) { r.Symmetric = true })
	return holder{token: issued.Token.ID, secret: issued.Secret.Reveal()}, issued
}

// proof signs a text now.
func (w *world) proof(s holder, text string, change ...func(*apitoken.Proof)) *apitoken.Proof {
	w.t.Helper()
	p := &apitoken.Proof{Scheme: apitoken.SchemeJWT, Token: s.token, Signed: []byte(text), Created: w.Clock.Now()}
	if s.key != nil {
		p.Algorithm, p.Signature = apitoken.AlgorithmES256, sign(w.t, s.key, text)
	} else {
		mac := hmac.New(sha256.New, []byte(s.secret))
		mac.Write(p.Signed)
		p.Algorithm, p.Signature = apitoken.AlgorithmHS256, mac.Sum(nil)
	}
	for _, f := range change {
		f(p)
	}
	return p
}

func (w *world) prove(p *apitoken.Proof) error {
	_, err := w.Service.Verify(w.t.Context(), apitoken.VerifyRequest{Proof: p})
	return err
}

// S2.10, S2.11: an uploaded key and a generated secret key both sign requests.
func TestSignedRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, signing)
	key, keyed := w.keySigner()
	secret, generated := w.secretSigner()

	require.True(t, keyed.Secret.IsZero(), "there is no secret to show (S2.10)")
	require.Equal(t, apitoken.CredentialAsymmetric, keyed.Token.Credential)
	require.Equal(t, uploaded(t, key.key).Fingerprint(), keyed.Token.KeyFingerprint)
	require.Equal(t, "SHA256:"+keyed.Token.KeyFingerprint[:12]+"…", keyed.Token.Hint)
	require.Equal(t, apitoken.CredentialSymmetric, generated.Token.Credential)
	require.Empty(t, generated.Token.KeyFingerprint)
	require.Regexp(t, "^acme_sk_[0-9A-Za-z]{71}$", generated.Secret.Reveal(), "S2.11")
	require.NotContains(t, w.dump(), generated.Secret.Reveal()[30:73], "S2.15")

	for name, s := range map[string]holder{"public key": key, "secret key": secret} {
		for _, scheme := range []apitoken.Scheme{apitoken.SchemeJWS, apitoken.SchemeJWT, apitoken.SchemeHTTPSignature} {
			p, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{Proof: w.proof(s, name, func(p *apitoken.Proof) { p.Scheme = scheme })})
			require.NoError(t, err, name)
			require.Equal(t, s.token, p.Token)
			require.Equal(t, scheme, p.Scheme)
			again, err := w.Service.Recheck(t.Context(), p)
			require.NoError(t, err)
			require.Equal(t, scheme, again.Scheme)
		}
		require.NoError(t, w.prove(w.proof(s, name+" 2", func(p *apitoken.Proof) { p.Algorithm = "" })), "a scheme may leave the algorithm out")
	}
	require.ErrorIs(t, w.verify(generated.Secret), apitoken.ErrWrongSecret, "a secret key is not sent along")
	found, err := w.Service.FindBySecret(t.Context(), ann, generated.Secret.Reveal())
	require.NoError(t, err)
	require.Equal(t, generated.Token.ID, found.ID)
	leak, err := w.Service.ReportLeak(t.Context(), ann, apitoken.LeakReport{Value: generated.Secret, Where: "a log"})
	require.NoError(t, err)
	require.Equal(t, apitoken.StateRevoked, leak.Token.State)
	require.ErrorIs(t, w.prove(w.proof(secret, "late")), apitoken.ErrRevoked)
}

func TestProofIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, signing)
	key, _ := w.keySigner()
	other, _ := w.keySigner()
	secret, _ := w.secretSigner()
	bearer := w.issue(plain)
	type change = func(p *apitoken.Proof)
	n := elliptic.P256().Params().N
	for name, tc := range map[string]struct {
		by     holder
		change change
		want   error
	}{
		"no such scheme":       {key, func(p *apitoken.Proof) { p.Scheme = "mine" }, apitoken.ErrScheme},
		"the bearer scheme":    {key, func(p *apitoken.Proof) { p.Scheme = apitoken.SchemeBearer }, apitoken.ErrScheme},
		"an ID of no form":     {key, func(p *apitoken.Proof) { p.Token = "../../etc" }, apitoken.ErrUnknownToken},
		"an unknown ID":        {key, func(p *apitoken.Proof) { p.Token = "0000000000000000000000" }, apitoken.ErrUnknownToken},
		"another token's key":  {other, func(p *apitoken.Proof) { p.Token = key.token }, apitoken.ErrBadSignature},
		"a bearer token":       {key, func(p *apitoken.Proof) { p.Token = bearer.Token.ID }, apitoken.ErrAlgorithm},
		"HS256 for ES256":      {key, func(p *apitoken.Proof) { p.Algorithm = apitoken.AlgorithmHS256 }, apitoken.ErrAlgorithm},
		"ES256 for HS256":      {secret, func(p *apitoken.Proof) { p.Algorithm = apitoken.AlgorithmES256 }, apitoken.ErrAlgorithm},
		"none":                 {key, func(p *apitoken.Proof) { p.Algorithm, p.Signature = "none", nil }, apitoken.ErrAlgorithm},
		"the key as a secret":  {holder{token: key.token, secret: string(publicDER(t, key.key))}, func(p *apitoken.Proof) { p.Algorithm = "" }, apitoken.ErrBadSignature},
		"another text":         {key, func(p *apitoken.Proof) { p.Signed = []byte("other") }, apitoken.ErrBadSignature},
		"another text, HS256":  {secret, func(p *apitoken.Proof) { p.Signed = []byte("other") }, apitoken.ErrBadSignature},
		"no text":              {key, func(p *apitoken.Proof) { p.Signed = nil }, apitoken.ErrMalformedProof},
		"an endless text":      {key, func(p *apitoken.Proof) { p.Signed = make([]byte, apitoken.MaxSignedBytes+1) }, apitoken.ErrMalformedProof},
		"an endless nonce":     {key, func(p *apitoken.Proof) { p.Nonce = strings.Repeat("n", 513) }, apitoken.ErrMalformedProof},
		"no signature":         {key, func(p *apitoken.Proof) { p.Signature = nil }, apitoken.ErrBadSignature},
		"a cut signature":      {key, func(p *apitoken.Proof) { p.Signature = p.Signature[:63] }, apitoken.ErrBadSignature},
		"a cut MAC":            {secret, func(p *apitoken.Proof) { p.Signature = p.Signature[:16] }, apitoken.ErrBadSignature},
		"ASN.1":                {key, func(p *apitoken.Proof) { p.Signature = der(p.Signature) }, apitoken.ErrDERSignature},
		"r and n-s is another": {key, func(p *apitoken.Proof) { p.Signature[5] ^= 1 }, apitoken.ErrBadSignature},
		"r of zero":            {key, func(p *apitoken.Proof) { clear(p.Signature[:32]) }, apitoken.ErrBadSignature},
		"s of n":               {key, func(p *apitoken.Proof) { n.FillBytes(p.Signature[32:]) }, apitoken.ErrBadSignature},
		"no time":              {key, func(p *apitoken.Proof) { p.Created = time.Time{} }, apitoken.ErrMalformedProof},
		"ends before it began": {key, func(p *apitoken.Proof) { p.Expires = p.Created.Add(-1) }, apitoken.ErrMalformedProof},
		"too old":              {key, func(p *apitoken.Proof) { p.Created = p.Created.Add(-5*time.Minute - 1) }, apitoken.ErrStale},
		"too far ahead":        {key, func(p *apitoken.Proof) { p.Created = p.Created.Add(2*time.Minute + 1) }, apitoken.ErrStale},
		"ahead by ages":        {key, func(p *apitoken.Proof) { p.Created = time.Unix(1<<40, 0) }, apitoken.ErrStale},
		"ahead without end":    {key, func(p *apitoken.Proof) { p.Created = time.Unix(math.MaxInt64>>2, 0) }, apitoken.ErrStale},
		"old by ages":          {key, func(p *apitoken.Proof) { p.Created = time.Unix(-1<<40, 0) }, apitoken.ErrStale},
		"expired":              {key, func(p *apitoken.Proof) { p.Expires = p.Created }, apitoken.ErrStale},
		"another body": {key, func(p *apitoken.Proof) {
			p.CheckBody = func(context.Context) error { return apitoken.ErrBodyDigest }
		}, apitoken.ErrBodyDigest},
		"a body that breaks off": {key, func(p *apitoken.Proof) {
			p.CheckBody = func(context.Context) error { return errors.New("connection reset") }
		}, apitoken.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{w.Env, t}
			p, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{Proof: w.proof(tc.by, name, tc.change)})
			require.ErrorIs(t, err, tc.want)
			require.Zero(t, p)
		})
	}
	t.Run("two credentials", func(t *testing.T) {
		t.Parallel()
		_, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{Proof: w.proof(key, "two"), Token: bearer.Secret.Reveal()})
		require.ErrorIs(t, err, apitoken.ErrTwoCredentials)
	})
}

// The edges of the two windows belong to them.
func TestProofWindows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, signing, func(o *apitoken.Options) { o.ProofMaxAge, o.ProofMaxAhead = time.Minute, 10*time.Second })
	key, _ := w.keySigner()
	for name, tc := range map[string]struct {
		by   time.Duration
		want error
	}{
		"oldest": {-time.Minute, nil}, "too old": {-time.Minute - 1, apitoken.ErrStale},
		"latest": {10 * time.Second, nil}, "too late": {10*time.Second + 1, apitoken.ErrStale},
	} {
		require.ErrorIs(t, w.prove(w.proof(key, name, func(p *apitoken.Proof) { p.Created = p.Created.Add(tc.by) })), tc.want, name)
	}
	require.NoError(t, w.prove(w.proof(key, "long nonce", func(p *apitoken.Proof) { p.Nonce = strings.Repeat("𝄞", 128) })))
	require.NoError(t, w.prove(w.proof(key, "ends", func(p *apitoken.Proof) { p.Expires = p.Created.Add(1) })))
}

func der(signature []byte) []byte {
	b, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])})
	if err != nil {
		panic(err)
	}
	return b
}

// A signature (r, s) and (r, n-s) are one request.
func TestReplayIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, signing)
	key, _ := w.keySigner()
	first := w.proof(key, "pay 100")
	require.NoError(t, w.prove(first))
	require.ErrorIs(t, w.prove(first), apitoken.ErrReplayed)
	other := *first
	other.Signature = make([]byte, 64)
	copy(other.Signature, first.Signature[:32])
	s := new(big.Int).SetBytes(first.Signature[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(other.Signature[32:])
	require.ErrorIs(t, w.prove(&other), apitoken.ErrReplayed, "it verifies, and is the same request")
	require.ErrorIs(t, w.prove(w.proof(key, "pay 100")), apitoken.ErrReplayed, "signed anew, it says the same")

	nonce := func(p *apitoken.Proof) { p.Nonce = "n1" }
	require.NoError(t, w.prove(w.proof(key, "pay 1", nonce)))
	require.ErrorIs(t, w.prove(w.proof(key, "pay 2", nonce)), apitoken.ErrReplayed)
	require.NoError(t, w.prove(w.proof(key, "pay 2", nonce, func(p *apitoken.Proof) { p.Scheme = apitoken.SchemeJWS })), "each scheme has its own")
	again, _ := w.keySigner()
	require.NoError(t, w.prove(w.proof(again, "pay 2", nonce)), "and each token")
	repeat := w.proof(key, "read", func(p *apitoken.Proof) { p.Repeatable = true })
	require.NoError(t, w.prove(repeat))
	require.NoError(t, w.prove(repeat))

	// For as long as it is fresh, and a sweep in between forgets nothing.
	late := w.proof(key, "late", func(p *apitoken.Proof) { p.Created = p.Created.Add(2 * time.Minute) })
	require.NoError(t, w.prove(late))
	for range 7 {
		w.sweep()
		require.ErrorIs(t, w.prove(late), apitoken.ErrReplayed)
		w.Clock.Advance(time.Minute)
	}
	w.Clock.Advance(1)
	require.ErrorIs(t, w.prove(late), apitoken.ErrStale)
}

// What is refused for another reason may come again: it was not accepted.
func TestRefusedProofIsNotRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, signing)
	key, issued := w.keySigner()
	p := w.proof(key, "once")
	_, err := w.Service.Disable(t.Context(), ann, issued.Token.ID, "")
	require.NoError(t, err)
	require.ErrorIs(t, w.prove(p), apitoken.ErrDisabled)
	_, err = w.Service.Enable(t.Context(), ann, issued.Token.ID, apitoken.EnableRequest{})
	require.NoError(t, err)
	p.CheckBody = func(context.Context) error { return apitoken.ErrBodyDigest }
	require.ErrorIs(t, w.prove(p), apitoken.ErrBodyDigest)
	p.CheckBody = nil
	require.NoError(t, w.prove(p))
}

// guard is a replay guard that does as it is told.
type guard func(apitoken.SignedUse) (bool, error)

func (g guard) Remember(_ context.Context, use apitoken.SignedUse) (bool, error) { return g(use) }

func TestReplayGuardFails(t *testing.T) {
	t.Parallel()
	var seen []apitoken.SignedUse
	broken := errors.New("connection refused")
	w := newWorld(t, signing, func(o *apitoken.Options) {
		o.ReplayGuard = guard(func(use apitoken.SignedUse) (bool, error) { seen = append(seen, use); return true, broken })
	})
	key, issued := w.keySigner()
	p := w.proof(key, "pay")
	err := w.prove(p)
	require.ErrorIs(t, err, apitoken.ErrUnavailable, "P4, P15")
	require.ErrorIs(t, err, broken)
	require.Len(t, seen, 1)
	require.Equal(t, apitoken.SignedUse{Key: seen[0].Key, Token: issued.Token.ID, Created: p.Created, Now: w.Clock.Now(), Until: p.Created.Add(5 * time.Minute)}, seen[0])
	require.Zero(t, w.get(issued.Token.ID).Usage.Uses)
}

// A guard that shares the fate of the tokens needs no start; one beside a store that
// outlives it does: what was accepted before the start is not known any more.
func TestReplayAfterRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, signing)
	key, _ := w.keySigner()
	before := w.proof(key, "before", func(p *apitoken.Proof) { p.Created = p.Created.Add(2 * time.Minute) })
	require.NoError(t, w.prove(before))
	w.Clock.Advance(time.Second)

	opts := apitoken.Options{Prefix: "acme", Catalog: worldCatalog, Kinds: map[apitoken.Kind]apitoken.Policy{plain: {Schemes: []apitoken.Scheme{apitoken.SchemeJWT}}}, Clock: w.Clock}
	opts.ReplayGuard = memstore.NewReplayGuard(w.Clock.Now().Add(2*time.Minute), memstore.ReplayOptions{})
	restarted, err := apitoken.New(w.Store, opts)
	require.NoError(t, err)
	prove := func(p *apitoken.Proof) error {
		_, err := restarted.Verify(t.Context(), apitoken.VerifyRequest{Proof: p})
		return err
	}
	require.ErrorIs(t, prove(before), apitoken.ErrUnavailable)
	require.ErrorIs(t, prove(w.proof(key, "soon")), apitoken.ErrUnavailable)
	w.Clock.Advance(2 * time.Minute)
	require.ErrorIs(t, prove(before), apitoken.ErrUnavailable)
	require.NoError(t, prove(w.proof(key, "now")))
}

// P15: of many copies at once one is accepted, on two nodes that share the guard.
func TestSignedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, signing)
	nodes := []*apitoken.Service{w.Service, w.Node()}
	secret, _ := w.secretSigner()
	const rounds, copies = 500, 4
	for round := range rounds {
		p := w.proof(secret, "pay "+time.Duration(round).String())
		var accepted, replayed atomic.Int32
		var wg sync.WaitGroup
		for i := range copies {
			wg.Go(func() {
				switch _, err := nodes[i%2].Verify(t.Context(), apitoken.VerifyRequest{Proof: p}); {
				case err == nil:
					accepted.Add(1)
				case errors.Is(err, apitoken.ErrReplayed):
					replayed.Add(1)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, accepted.Load())
		require.EqualValues(t, copies-1, replayed.Load())
	}
}

func TestSchemesOfKind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, signing, with(plain, func(p *apitoken.Policy) { p.Schemes = []apitoken.Scheme{apitoken.SchemeJWT} }))
	key, _ := w.keySigner()
	require.NoError(t, w.prove(w.proof(key, "jwt")))
	require.ErrorIs(t, w.prove(w.proof(key, "jws", func(p *apitoken.Proof) { p.Scheme = apitoken.SchemeJWS })), apitoken.ErrScheme)

	for name, tc := range map[string]struct {
		kind   apitoken.Kind
		change func(*apitoken.IssueRequest)
		field  string
	}{
		"neither":      {plain, func(*apitoken.IssueRequest) {}, "public_key"},
		"both":         {plain, func(r *apitoken.IssueRequest) { r.PublicKey, r.Symmetric = pemOf(t, key.key), true }, "symmetric"},
		"no key":       {plain, func(r *apitoken.IssueRequest) { r.PublicKey = "hello" }, "public_key"},
		"not signing":  {user, func(r *apitoken.IssueRequest) { r.PublicKey = pemOf(t, key.key) }, "public_key"},
		"not signing2": {user, func(r *apitoken.IssueRequest) { r.Symmetric = true }, "symmetric"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := apitoken.IssueRequest{Kind: tc.kind, Name: "one"}
			tc.change(&req)
			_, err := w.Service.Issue(t.Context(), ann, req)
			require.Equal(t, []string{tc.field}, faultFields(err))
		})
	}
	plainOnly := newWorld(t)
	_, err := plainOnly.Service.Issue(t.Context(), ann, apitoken.IssueRequest{Kind: fixed, Name: "one", Symmetric: true})
	require.Equal(t, []string{"symmetric"}, faultFields(err), "no keyring")
	require.Contains(t, err.Error(), "Options.Keyring")
}

// S2.14, S2.15: a private key is refused as what it is, and stands nowhere.
func TestIssueRefusesPrivateKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, signing)
	before := w.dump()
	_, err := w.Service.Issue(t.Context(), ann, apitoken.IssueRequest{Name: "one", PublicKey: "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg\n-----END PRIVATE KEY-----\n"})
	require.ErrorIs(t, err, apitoken.ErrPrivateKey)
	require.ErrorIs(t, err, apitoken.ErrInvalid)
	require.Equal(t, []string{"public_key"}, faultFields(err))
	require.Equal(t, "private_key", apitoken.ReasonOf(err))
	require.NotContains(t, err.Error(), "MIGHAgEA")
	require.Equal(t, before, w.dump())
}

func TestRatchet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, signing)
	bearer := w.issue(plain)
	id := bearer.Token.ID
	key := holder{token: id, key: newKey(t, elliptic.P256())}
	rotated, err := w.Service.Rotate(t.Context(), ann, id, apitoken.RotateRequest{IfVersion: 1, Overlap: week, PublicKey: pemOf(t, key.key)})
	require.NoError(t, err)
	require.True(t, rotated.Secret.IsZero())
	require.Equal(t, apitoken.CredentialAsymmetric, rotated.Token.Credential)

	require.NoError(t, w.verify(bearer.Secret), "until the first signature")
	require.Error(t, w.prove(w.proof(key, "x", func(p *apitoken.Proof) { p.Signature[40] ^= 1 })))
	require.NoError(t, w.verify(bearer.Secret), "a wrong one is none")

	// The first signature ends the bearer value before it is let in.
	w.Store.On(func(c apitokentest.Call) error {
		if c.Method == "Swap" {
			return errors.New("disk full")
		}
		return nil
	})
	require.ErrorIs(t, w.prove(w.proof(key, "y")), apitoken.ErrUnavailable)
	w.Store.On(nil)
	require.NoError(t, w.verify(bearer.Secret))
	require.NoError(t, w.prove(w.proof(key, "z")))
	require.ErrorIs(t, w.verify(bearer.Secret), apitoken.ErrSuperseded)
	require.NoError(t, w.prove(w.proof(key, "again")))
	types := eventTypes(w.events(id))
	require.Equal(t, apitoken.EventOverlapEnded, types[2])
	w.Clock.Advance(2 * week)
	w.sweep()
	require.NotContains(t, eventTypes(w.events(id))[3:], apitoken.EventOverlapEnded, "once")

	_, err = w.Service.Rotate(t.Context(), ann, id, apitoken.RotateRequest{IdempotencyKey: "k"})
	require.Equal(t, []string{"public_key"}, faultFields(err), "there is no way back to a bearer value")
}

func TestRatchetByDate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, signing)
	bearer := w.issue(plain)
	rotated, err := w.Service.Rotate(t.Context(), ann, bearer.Token.ID, apitoken.RotateRequest{IfVersion: 1, Overlap: week, Symmetric: true})
	require.NoError(t, err)
	secret := holder{token: bearer.Token.ID, secret: rotated.Secret.Reveal()}
	w.Clock.Advance(week - 1)
	require.NoError(t, w.verify(bearer.Secret))
	w.Clock.Advance(1)
	require.ErrorIs(t, w.verify(bearer.Secret), apitoken.ErrSuperseded)
	require.NoError(t, w.prove(w.proof(secret, "a")))
}

// Both keys sign during an overlap, whichever algorithm each has.
func TestRotateKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, signing)
	first, issued := w.keySigner()
	second := holder{token: first.token, key: newKey(t, elliptic.P256())}
	_, err := w.Service.Rotate(t.Context(), ann, issued.Token.ID, apitoken.RotateRequest{IfVersion: 1, Overlap: day, PublicKey: pemOf(t, second.key)})
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, w.prove(w.proof(first, "a"+w.Clock.Now().String())))
		require.NoError(t, w.prove(w.proof(second, "b"+w.Clock.Now().String())))
		w.Clock.Advance(time.Hour)
	}
	third, err := w.Service.Rotate(t.Context(), ann, issued.Token.ID, apitoken.RotateRequest{IfVersion: 2, Overlap: day, Symmetric: true})
	require.NoError(t, err)
	require.ErrorIs(t, w.prove(w.proof(first, "c")), apitoken.ErrBadSignature, "two rotations ago")
	require.NoError(t, w.prove(w.proof(second, "d")))
	secret := holder{token: first.token, secret: third.Secret.Reveal()}
	p, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{Proof: w.proof(second, "stream")})
	require.NoError(t, err)
	_, err = w.Service.Recheck(t.Context(), p)
	require.NoError(t, err)
	require.NoError(t, w.prove(w.proof(secret, "e")))
	require.NoError(t, w.prove(w.proof(second, "f")), "only a bearer value ends with the first signature")
	w.Clock.Advance(day)
	require.ErrorIs(t, w.prove(w.proof(second, "g")), apitoken.ErrSuperseded)
	_, err = w.Service.Recheck(t.Context(), p)
	require.ErrorIs(t, err, apitoken.ErrSuperseded)
	require.NoError(t, w.prove(w.proof(secret, "h")))
}

func TestExplainProof(t *testing.T) {
	t.Parallel()
	w := newWorld(t, signing)
	key, _ := w.keySigner()
	x, err := w.Service.Explain(t.Context(), ann, apitoken.ExplainRequest{Verify: apitoken.VerifyRequest{Proof: w.proof(key, "a", func(p *apitoken.Proof) { p.Signature[0] ^= 1 })}})
	require.NoError(t, err)
	require.Equal(t, "secret", x.Failed()[0].Name)
	require.Equal(t, "bad_signature", x.Failed()[0].Reason)
	p := w.proof(key, "b")
	for range 2 { // it takes nothing from the guard
		x, err = w.Service.Explain(t.Context(), ann, apitoken.ExplainRequest{Verify: apitoken.VerifyRequest{Proof: p}})
		require.NoError(t, err)
		require.True(t, x.Accepted)
	}
	require.NoError(t, w.prove(p))
}

// A body may take longer to come than the guard keeps the first copy of the request.
func TestSlowBodyOfReplay(t *testing.T) {
	t.Parallel()
	kept := map[[32]byte]time.Time{} // as a database does, it knows no time but what it is told
	w := newWorld(t, signing, func(o *apitoken.Options) {
		o.ReplayGuard = &forgetting{guard: func(use apitoken.SignedUse) (bool, error) {
			_, known := kept[use.Key]
			kept[use.Key] = use.Until
			return !known, nil
		}, kept: kept}
	})
	key, _ := w.keySigner()
	first := w.proof(key, "pay")
	require.NoError(t, w.prove(first))
	again := *first
	again.CheckBody = func(context.Context) error {
		w.Clock.Advance(20 * time.Minute)
		w.sweep()
		return nil
	}
	require.ErrorIs(t, w.prove(&again), apitoken.ErrStale)
	require.Empty(t, kept, "what is too old is forgotten")
}

type forgetting struct {
	guard
	kept map[[32]byte]time.Time
}

func (f *forgetting) Forget(_ context.Context, before time.Time) (n int64, err error) {
	for k, until := range f.kept {
		if !until.After(before) {
			delete(f.kept, k)
			n++
		}
	}
	return n, nil
}

// A kind whose tokens only sign gets no bearer value from an import: nobody could
// use it.
func TestImportIntoSigningKind(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t, with(plain, func(p *apitoken.Policy) { p.Schemes = []apitoken.Scheme{apitoken.SchemeJWT} }))
	wanted := row(func(r *apitoken.ImportRow) { r.NewValue = true })
	out := w.imports(wanted)[0]
	require.Equal(t, []string{"new_value"}, faultFields(out.Err))
	wanted.NewValue = false
	require.NoError(t, w.imports(wanted)[0].Err)
}
