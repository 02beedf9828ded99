package apitoken

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"
)

// The algorithms of signed requests, as JWS names them (RFC 7518, section 3.1).
const (
	// AlgorithmES256 is ECDSA on P-256 with SHA-256 (S2.12): the key is uploaded.
	AlgorithmES256 = "ES256"
	// AlgorithmHS256 is HMAC with SHA-256: the secret is generated here (S2.11).
	AlgorithmHS256 = "HS256"
)

// Proof is the signature of one request, as the parser of a scheme read it from
// there. Nothing in it is verified: [Service.Verify] does that, the same way for
// every scheme. Packages httpauth and httpsig make Proofs; a host needs to only
// for a scheme of its own transport.
//
// The parser has checked the form and the sizes, and that what the signature says
// of the request (method, target, host) is what was received. It has read no body
// yet, unless the body is what was signed.
type Proof struct {
	Scheme Scheme // SchemeJWS, SchemeJWT or SchemeHTTPSignature
	Token  ID     // that the request names; it may be any text
	// Algorithm that the request names. It is compared with the token's own and
	// never chooses one. "" = the scheme lets clients leave it out.
	Algorithm string
	Signed    []byte // what the signature is over, as it was received; at most MaxSignedBytes
	Signature []byte // r‖s of 64 bytes, or an HMAC of 32
	Created   time.Time
	Expires   time.Time // zero = the request names none
	// Nonce is what makes the request unlike any other of the token: at most 512
	// bytes. "" = there is none, and Signed stands for it.
	Nonce string
	// Repeatable: presenting the same proof again does no harm, so it is not
	// remembered.
	Repeatable bool
	// CheckBody reads the body and compares it with what was signed of it; it is
	// called at most once, after all else but the replay guard let the request
	// through. Its error is of a family of this package, as a rule
	// [ErrBodyDigest], or it is an outage. nil = there is nothing to check.
	CheckBody func(ctx context.Context) error
}

const (
	// MaxSignedBytes bounds [Proof].Signed: a body of 1 MiB in base64 and a header.
	MaxSignedBytes = 1<<20 + 1<<10
	maxNonce       = 512 // 128 characters of four bytes
)

// wellFormed checks what no key is needed for.
func (p *Proof) wellFormed() error {
	switch {
	case !p.Scheme.signs():
		return ErrScheme
	case !p.Token.Valid():
		return ErrUnknownToken
	case len(p.Signed) == 0 || len(p.Signed) > MaxSignedBytes || len(p.Nonce) > maxNonce || p.Created.IsZero():
		return ErrMalformedProof
	case !p.Expires.IsZero() && p.Expires.Before(p.Created):
		return ErrMalformedProof
	}
	return nil
}

// identifyProof finds the token that a proof names and checks the signature with
// its key. What costs nothing to see is looked at first: a wrong key ID, algorithm
// or time makes nobody compute a signature.
func (s *Service) identifyProof(ctx context.Context, p *Proof, found *identified) error {
	if err := p.wellFormed(); err != nil {
		return err
	}
	now := s.now()
	if err := s.checkFresh(p, now); err != nil {
		return err
	}
	rec, err := s.lookUp(ctx, p.Token)
	if err != nil {
		return err
	}
	c, err := s.compile(ctx, rec)
	if err != nil {
		return err
	}
	found.c, found.now, found.scheme = c, now, p.Scheme
	// The value before a rotation may sign too, until its overlap ends. Where both
	// use one algorithm the key is told by trying; a token has no other two keys.
	refusal := ErrAlgorithm
	for _, check := range [...]*secretCheck{&c.primary, &c.previous} {
		key := check.signing
		if key == nil || p.Algorithm != "" && p.Algorithm != key.algorithm {
			continue
		}
		if !key.verifies(p.Signed, p.Signature) {
			if refusal == ErrAlgorithm {
				refusal = ErrBadSignature
			}
			if isDERSignature(p.Signature) && key.algorithm == AlgorithmES256 {
				refusal = ErrDERSignature
			}
			continue
		}
		if check == &c.primary {
			return nil
		}
		if !now.Before(rec.PreviousUntil) {
			return ErrSuperseded
		}
		found.replaced = true
		return nil
	}
	return refusal
}

// checkFresh says whether a proof is of now.
func (s *Service) checkFresh(p *Proof, now time.Time) error {
	switch { // each difference is taken as it is: the most negative one has no opposite
	case now.Sub(p.Created) > s.opts.ProofMaxAge || p.Created.Sub(now) > s.opts.ProofMaxAhead:
		return ErrStale
	case !p.Expires.IsZero() && !now.Before(p.Expires):
		return ErrStale
	}
	return nil
}

// acceptProof does what is left for a proof once the token itself let the request
// through: the body, and that it comes for the first time (P15).
func (s *Service) acceptProof(ctx context.Context, p *Proof, found *identified) error {
	if p.CheckBody != nil {
		if err := p.CheckBody(ctx); err != nil {
			return ofFamily(err, "body")
		}
		// It may have taken longer to come than the guard keeps a first copy.
		found.now = s.now()
		if err := s.checkFresh(p, found.now); err != nil {
			return err
		}
	}
	if !p.Repeatable {
		if s.replay == nil {
			return outage("replay guard", errors.New("there is none: set Options.ReplayGuard"))
		}
		fresh, err := s.replay.Remember(ctx, SignedUse{
			Key: replayKey(p), Token: p.Token, Created: p.Created, Now: found.now, Until: p.Created.Add(s.opts.ProofMaxAge),
		})
		if err != nil {
			return outage("replay guard", err)
		}
		if !fresh {
			return ErrReplayed
		}
	}
	return s.ratchet(ctx, found)
}

// replayKey is the same for a request that comes again, whatever its signature: of
// one signature (r, s), (r, n-s) is another that verifies, so it cannot be part.
func replayKey(p *Proof) (key [sha256.Size]byte) {
	h := sha256.New()
	part := func(text string) {
		_ = binary.Write(h, binary.BigEndian, uint32(len(text)))
		h.Write([]byte(text))
	}
	part("apitoken:replay:v1")
	part(string(p.Scheme))
	part(string(p.Token))
	if p.Nonce != "" {
		part("nonce")
		part(p.Nonce)
	} else {
		part("signed")
		h.Write(p.Signed)
	}
	h.Sum(key[:0])
	return key
}

// forgetReplays lets the guard drop what is too old to be accepted on any node.
func (s *Service) forgetReplays(ctx context.Context, now time.Time) error {
	guard, ok := s.replay.(interface {
		Forget(ctx context.Context, before time.Time) (int64, error)
	})
	if !ok || !s.signs {
		return nil
	}
	// A minute more, for a request that is between its last look at the clock and the
	// guard.
	if _, err := guard.Forget(ctx, now.Add(-s.opts.ClockSkew-time.Minute)); err != nil {
		return outage("replay guard", err)
	}
	return nil
}

// ratchet ends the bearer value of a token to which a key was attached by Rotate,
// at the first signature that is accepted: from then on nobody who finds the old
// value can use it. The request is refused if that cannot be stored.
func (s *Service) ratchet(ctx context.Context, found *identified) error {
	c := found.c
	rec := c.principal.rec
	if found.replaced || !c.previous.bearer || !found.now.Before(rec.PreviousUntil) {
		return nil
	}
	actor := System("apitoken", rec.Token.Tenant)
	_, err := s.change(ctx, actor, rec.Token.ID, changeOptions{verb: verbRatchet}, func(ch *change) error {
		if ch.rec.Previous.Algorithm != algorithmSHA256 || ch.rec.PreviousUntil.IsZero() {
			return nil // done by another request, or rotated again
		}
		ch.rec.PreviousUntil = time.Time{} // over for every clock, also for one that is behind
		ch.note(EventOverlapEnded, "")
		return nil
	})
	if err != nil && !errors.Is(err, ErrUnavailable) {
		return outage("store", err)
	}
	return err
}

// ofFamily lets an error of a family of this package be, and makes any other an
// outage of a part.
func ofFamily(err error, part string) error {
	for _, family := range []error{ErrUnauthenticated, ErrForbidden, ErrRateLimited, ErrUnavailable, ErrInvalid} {
		if errors.Is(err, family) {
			return err
		}
	}
	return outage(part, err)
}

// ReplayGuard remembers which signed requests were accepted, so that none is
// accepted twice (P15). Package memstore has one for a single process; sqlstore and
// redisstore have one that several nodes share.
//
// A guard that also has a method Forget(ctx, before time.Time) (int64, error) is
// told by [Service.Sweep] what it need not keep any longer.
type ReplayGuard interface {
	// Remember keeps use.Key until use.Until, and reports whether it was not kept
	// before: of any number of calls with one key, at once or one after the other,
	// on all nodes that share the guard, one is told true. On an error nothing is
	// known, and the caller refuses. A guard that is full answers with an error: it
	// drops nothing that is still to be kept.
	Remember(ctx context.Context, use SignedUse) (fresh bool, err error)
}

// SignedUse is one accepted signature, for a [ReplayGuard].
type SignedUse struct {
	Key     [sha256.Size]byte // digest of the scheme, the token's ID and the nonce or signed bytes
	Token   ID                // so that no token fills the guard for all others
	Created time.Time         // when the client says that it signed
	Now     time.Time         // of the request: a guard reads no clock
	Until   time.Time         // from then on the signature is too old to be accepted
}
