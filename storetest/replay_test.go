package storetest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/memstore"
	"github.com/tokenry/apitoken/storetest"
)

// goodGuard is what the broken ones are made of.
type goodGuard struct {
	*memstore.ReplayGuard
	mu   sync.Mutex
	kept map[[32]byte]time.Time
}

// check reports whether a key is kept, and until when.
func (g *goodGuard) check(key [32]byte) (until time.Time, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	until, ok = g.kept[key]
	return until, ok
}

func (g *goodGuard) keep(use apitoken.SignedUse) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.kept[use.Key] = use.Until
}

// guardOf changes what Remember, or Forget, does.
type guardOf struct {
	*goodGuard
	remember func(ctx context.Context, use apitoken.SignedUse) (bool, error)
	forget   func(ctx context.Context, before time.Time) (int64, error)
}

func (g guardOf) Remember(ctx context.Context, use apitoken.SignedUse) (bool, error) {
	if g.remember == nil {
		return g.goodGuard.Remember(ctx, use)
	}
	return g.remember(ctx, use)
}

func (g guardOf) Forget(ctx context.Context, before time.Time) (int64, error) {
	if g.forget == nil {
		return g.goodGuard.Forget(ctx, before)
	}
	return g.forget(ctx, before)
}

// brokenGuards are the mistakes that guards make: what is wrong, the topic that must
// find it and the sentence it must quote.
var brokenGuards = []struct {
	name    string
	topic   string
	says    string
	breakIt func(good *goodGuard) guardOf
}{
	{"all is fresh", "once", "Remember keeps use.Key until use.Until", func(*goodGuard) guardOf {
		return guardOf{remember: func(context.Context, apitoken.SignedUse) (bool, error) { return true, nil }}
	}},
	{"nothing is fresh", "once", "Remember keeps use.Key until use.Until", func(*goodGuard) guardOf {
		return guardOf{remember: func(context.Context, apitoken.SignedUse) (bool, error) { return false, nil }}
	}},
	{"each token has keys of its own", "once", "Remember keeps use.Key until use.Until", func(g *goodGuard) guardOf {
		return guardOf{remember: func(ctx context.Context, use apitoken.SignedUse) (bool, error) {
			if use.Token == "" {
				use.Key[0]++
			}
			return g.Remember(ctx, use)
		}}
	}},
	{"another end is another key", "once", "Remember keeps use.Key until use.Until", func(g *goodGuard) guardOf {
		return guardOf{remember: func(ctx context.Context, use apitoken.SignedUse) (bool, error) {
			use.Key[0] ^= byte(use.Until.Unix())
			return g.Remember(ctx, use)
		}}
	}},
	{"keys are cut", "once", "Remember keeps use.Key until use.Until", func(g *goodGuard) guardOf {
		return guardOf{remember: func(ctx context.Context, use apitoken.SignedUse) (bool, error) {
			clear(use.Key[31:])
			return g.Remember(ctx, use)
		}}
	}},
	{"keys are folded", "once", "Remember keeps use.Key until use.Until", func(g *goodGuard) guardOf {
		return guardOf{remember: func(ctx context.Context, use apitoken.SignedUse) (bool, error) {
			for i, b := range use.Key {
				use.Key[i] = b &^ 0x20
			}
			return g.Remember(ctx, use)
		}}
	}},
	{"keys are dropped a minute early", "kept", "Remember keeps use.Key until use.Until", func(g *goodGuard) guardOf {
		return guardOf{remember: func(ctx context.Context, use apitoken.SignedUse) (bool, error) {
			until, ok := g.check(use.Key)
			g.keep(use)
			return !ok || use.Now.After(until.Add(-time.Minute)), nil
		}}
	}},
	{"it looks, then writes", "race", "one is told true.", func(g *goodGuard) guardOf {
		return guardOf{remember: func(_ context.Context, use apitoken.SignedUse) (bool, error) {
			if _, ok := g.check(use.Key); ok {
				return false, nil
			}
			for range 1000 { // the gap between the SELECT and the INSERT
				runtime.Gosched()
			}
			g.keep(use)
			return true, nil
		}}
	}},
	{"a collision is an error", "race", "one is told true.", func(g *goodGuard) guardOf {
		return guardOf{remember: func(ctx context.Context, use apitoken.SignedUse) (bool, error) {
			fresh, err := g.Remember(ctx, use)
			if err == nil && !fresh {
				err = errors.New("duplicate key")
			}
			return fresh, err
		}}
	}},
	{"Forget drops all", "forget", "what it need not keep any longer.", func(g *goodGuard) guardOf {
		return guardOf{
			remember: func(_ context.Context, use apitoken.SignedUse) (bool, error) {
				_, ok := g.check(use.Key)
				g.keep(use)
				return !ok, nil
			},
			forget: func(context.Context, time.Time) (int64, error) {
				g.mu.Lock()
				defer g.mu.Unlock()
				clear(g.kept)
				return 0, nil
			},
		}
	}},
	{"Forget counts what it keeps", "forget", "what it need not keep any longer.", func(g *goodGuard) guardOf {
		return guardOf{forget: func(ctx context.Context, before time.Time) (int64, error) {
			n, err := g.Forget(ctx, before)
			return n + 1, err
		}}
	}},
	{"an error comes with true", "context", "On an error nothing is known", func(g *goodGuard) guardOf {
		return guardOf{remember: func(ctx context.Context, use apitoken.SignedUse) (bool, error) {
			fresh, err := g.Remember(ctx, use)
			return fresh || err != nil, err
		}}
	}},
	{"the context is ignored", "context", "On an error nothing is known", func(g *goodGuard) guardOf {
		return guardOf{remember: func(ctx context.Context, use apitoken.SignedUse) (bool, error) {
			return g.Remember(context.WithoutCancel(ctx), use)
		}}
	}},
	{"an outage is a refusal", "context", "Any error other than the ones named is an outage", func(g *goodGuard) guardOf {
		return guardOf{remember: func(ctx context.Context, use apitoken.SignedUse) (bool, error) {
			fresh, err := g.Remember(ctx, use)
			if err != nil {
				err = apitoken.ErrReplayed
			}
			return fresh, err
		}}
	}},
	{"Forget ignores the context", "context", "what it need not keep any longer.", func(g *goodGuard) guardOf {
		return guardOf{forget: func(ctx context.Context, before time.Time) (int64, error) {
			return g.Forget(context.WithoutCancel(ctx), before)
		}}
	}},
}

func TestGuardSubject(t *testing.T) {
	name := os.Getenv(subjectVariable)
	storetest.RunReplayGuard(t, func(*testing.T) apitoken.ReplayGuard {
		good := &goodGuard{
			ReplayGuard: memstore.NewReplayGuard(time.Time{}, memstore.ReplayOptions{}),
			kept:        map[[32]byte]time.Time{},
		}
		for _, b := range brokenGuards {
			if b.name == name {
				broken := b.breakIt(good)
				broken.goodGuard = good
				return broken
			}
		}
		return good
	})
}

func TestBrokenGuardsFail(t *testing.T) {
	t.Parallel()
	for _, b := range brokenGuards {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.timeout=1m", "-test.run=^TestGuardSubject$/^"+b.topic+"$")
			cmd.Env = append(os.Environ(), subjectVariable+"="+b.name)
			out, err := cmd.CombinedOutput()
			require.Error(t, err, "the suite passed: %s", out)
			require.Regexp(t, "the contract says: .*"+regexp.QuoteMeta(b.says), string(out))
			require.NotContains(t, string(out), "panic:")
		})
	}
}

// TestForgetIsOptional: a guard without it is a guard.
func TestForgetIsOptional(t *testing.T) {
	t.Parallel()
	storetest.RunReplayGuard(t, func(*testing.T) apitoken.ReplayGuard {
		return struct{ apitoken.ReplayGuard }{memstore.NewReplayGuard(time.Time{}, memstore.ReplayOptions{})}
	})
}
