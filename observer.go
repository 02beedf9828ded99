package apitoken

import (
	"context"
	"errors"
	"time"
)

// Observer is told what a [Service] does. Each function is optional, is called where
// it happens, often while a request waits, and must be fast and safe for concurrent
// use. What it gets holds no secret, no ID and nothing that a client made up, so all
// of it but errors may become labels of metrics. Times are by [Options].Clock. ctx is that of the call: a trace's span is in
// it.
type Observer struct {
	// Verified is called at the end of Verify, Admit and Recheck.
	Verified func(ctx context.Context, v Verification)
	// Limited is called for each decision of the limiter, and by quotas.
	Limited func(ctx context.Context, d Decision)
	// StoreFailed is called when a call of the store failed: not for 'not found', a
	// conflict or a context that ended.
	StoreFailed func(ctx context.Context, f StoreFailure)
	// Swept is called at the end of each sweep.
	Swept func(ctx context.Context, s SweepResult)
}

// Verification is how a request was decided.
type Verification struct {
	Call string // "verify", "admit" or "recheck"
	// Reason is [ReasonOf] the refusal, "" = accepted.
	Reason string
	// Part, of an outage, is the part that failed: see [OutageError].
	Part   string
	Kind   Kind   // "" when the credential names no token of a kind that is configured
	Scheme Scheme // "" likewise
	Start  time.Time
	Took   time.Duration
}

// StoreFailure is a call of the store that failed.
type StoreFailure struct {
	Call string // the method's name: "Get", "Swap", ...
	Err  error  // may name hosts and tables: for logs, not for labels
}

// SweepResult is one sweep.
type SweepResult struct {
	Swept
	Err   error // the sweep ended early
	Start time.Time
	Took  time.Duration
}

// observe tells of a verification. p is of the token that the credential names, nil =
// of none.
func (s *Service) observe(ctx context.Context, call string, start time.Time, p *Principal, err error) {
	v := Verification{Call: call, Start: start, Took: s.now().Sub(start)}
	if p != nil {
		if _, known := s.kinds[p.Kind]; known {
			v.Kind, v.Scheme = p.Kind, p.Scheme
		}
	}
	if err != nil {
		v.Reason = ReasonOf(err)
		if o, ok := errors.AsType[*OutageError](err); ok {
			v.Part = o.Part
		}
	}
	s.opts.Observer.Verified(ctx, v)
}

// principal returns who a credential that was identified acts for, nil = nobody.
func (f *identified) principal() *Principal {
	if f.c == nil {
		return nil
	}
	p := f.c.principal
	p.Scheme = f.scheme
	return &p
}

// JoinObservers returns an Observer that tells all of list, in their order.
func JoinObservers(list ...Observer) Observer {
	var out Observer
	for _, o := range list {
		out.Verified = both(out.Verified, o.Verified)
		out.Limited = both(out.Limited, o.Limited)
		out.StoreFailed = both(out.StoreFailed, o.StoreFailed)
		out.Swept = both(out.Swept, o.Swept)
	}
	return out
}

func both[T any](a, b func(context.Context, T)) func(context.Context, T) {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return func(ctx context.Context, v T) {
		a(ctx, v)
		b(ctx, v)
	}
}
