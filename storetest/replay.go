package storetest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/tokenry/apitoken"
)

// RunReplayGuard holds implementations of [apitoken.ReplayGuard] to its contract,
// as [Run] does with stores. It calls newGuard for an empty guard several times, one
// after the other, never while a guard from an earlier call is still in use. The
// guard must take signatures made at any time, and a few hundred of one token.
//
// A guard that has a method Forget is held to what is said of it too.
func RunReplayGuard(t *testing.T, newGuard func(t *testing.T) apitoken.ReplayGuard) {
	t.Helper()
	for _, topic := range []struct {
		name string
		run  func(t *testing.T, g apitoken.ReplayGuard)
	}{
		{"once", testReplayOnce},
		{"kept", testReplayKept},
		{"race", testReplayRace},
		{"forget", testReplayForget},
		{"context", testReplayContext},
	} {
		t.Run(topic.name, func(t *testing.T) { topic.run(t, newGuard(t)) })
	}
}

// forgetter is what [apitoken.Service.Sweep] looks for in a guard.
type forgetter interface {
	Forget(ctx context.Context, before time.Time) (int64, error)
}

// signedUse was signed at epoch, reached the service right away and is accepted for
// five minutes.
func signedUse(name string) apitoken.SignedUse {
	return apitoken.SignedUse{
		Key: sha256.Sum256([]byte(name)), Token: "replay0000000000000000", Created: epoch, Now: epoch, Until: epoch.Add(5 * time.Minute),
	}
}

// remembers demands an answer.
func (c clause) remembers(t *testing.T, g apitoken.ReplayGuard, use apitoken.SignedUse, fresh bool, what string) {
	t.Helper()
	got, err := g.Remember(t.Context(), use)
	c.ok(t, err, what)
	if got != fresh {
		c.fail(t, "%s: fresh is %v, want %v", what, got, fresh)
	}
}

func testReplayOnce(t *testing.T, g apitoken.ReplayGuard) {
	use := signedUse("once")
	replayKeeps.remembers(t, g, use, true, "Remember of a new key")
	for range 3 {
		replayKeeps.remembers(t, g, use, false, "Remember of a key that is kept")
	}
	for name, change := range map[string]func(use *apitoken.SignedUse){
		"another token":               func(use *apitoken.SignedUse) { use.Token = "replay1111111111111111" },
		"no token":                    func(use *apitoken.SignedUse) { use.Token = "" },
		"another instant of signing":  func(use *apitoken.SignedUse) { use.Created = epoch.Add(time.Second) },
		"another instant of arriving": func(use *apitoken.SignedUse) { use.Now = epoch.Add(time.Second) },
		"a later end":                 func(use *apitoken.SignedUse) { use.Until = epoch.Add(10 * time.Minute) },
		"an earlier end":              func(use *apitoken.SignedUse) { use.Until = epoch.Add(time.Minute) },
	} {
		again := use
		change(&again)
		replayKeeps.remembers(t, g, again, false, "Remember of a key that is kept, with "+name)
	}

	// Keys are bytes: none is cut, folded or read as text.
	for at := range len(use.Key) {
		other := use
		other.Key[at] ^= 0x20
		replayKeeps.remembers(t, g, other, true, fmt.Sprintf("Remember of a key that differs in byte %d", at))
		replayKeeps.remembers(t, g, other, false, fmt.Sprintf("Remember of the kept key that differs in byte %d", at))
	}
	for _, b := range []byte{0, ' ', 0xff} {
		var key [sha256.Size]byte
		for i := range key {
			key[i] = b
		}
		other := use
		other.Key = key
		replayKeeps.remembers(t, g, other, true, fmt.Sprintf("Remember of a key of bytes %#x", b))
		replayKeeps.remembers(t, g, other, false, fmt.Sprintf("Remember of the kept key of bytes %#x", b))
	}
	replayKeeps.remembers(t, g, use, false, "Remember of the first key after others")
}

// testReplayKept lets the time of requests go on, to the very end and back.
func testReplayKept(t *testing.T, g apitoken.ReplayGuard) {
	use := signedUse("kept")
	replayKeeps.remembers(t, g, use, true, "Remember of a new key")
	for i, now := range []time.Duration{time.Minute, 4 * time.Minute, 5*time.Minute - time.Microsecond, 5 * time.Minute, 2 * time.Minute, 0} {
		other := signedUse(fmt.Sprint("beside", i))
		other.Created, other.Now, other.Until = epoch.Add(now), epoch.Add(now), epoch.Add(now+5*time.Minute)
		replayKeeps.remembers(t, g, other, true, fmt.Sprintf("Remember of another new key %v later", now))
		use.Now = epoch.Add(now)
		replayKeeps.remembers(t, g, use, false, fmt.Sprintf("Remember of a key that is kept, %v later", now))
	}
}

// testReplayRace sends 100 copies of a request at once, and 100 different ones.
func testReplayRace(t *testing.T, g apitoken.ReplayGuard) {
	const calls = 100
	send := func(key func(i int) string) (told int) {
		fresh, errs := make([]bool, calls), make([]error, calls)
		var parties []func()
		for i := range calls {
			parties = append(parties, func() { fresh[i], errs[i] = g.Remember(t.Context(), signedUse(key(i))) })
		}
		together(parties...)
		for i := range calls {
			replayOnce.ok(t, errs[i], "Remember in a race")
			if fresh[i] {
				told++
			}
		}
		return told
	}
	for round := range 5 {
		replayOnce.same(t, send(func(int) string { return fmt.Sprint("race", round) }), 1, "those told true of 100 calls with one key at once")
	}
	replayOnce.same(t, send(func(i int) string { return fmt.Sprint("apart", i) }), calls, "those told true of 100 calls with 100 keys at once")
	replayOnce.same(t, send(func(i int) string { return fmt.Sprint("apart", i) }), 0, "those told true of 100 calls with keys that are kept")
}

func testReplayForget(t *testing.T, g apitoken.ReplayGuard) {
	f, ok := g.(forgetter)
	if !ok {
		return
	}
	const longer = 20
	short := signedUse("short")
	replayKeeps.remembers(t, g, short, true, "Remember of a new key")
	for i := range longer {
		use := signedUse(fmt.Sprint("long", i))
		use.Until = epoch.Add(10*time.Minute + time.Duration(i)*time.Microsecond)
		replayKeeps.remembers(t, g, use, true, "Remember of a new key")
	}
	forget := func(before time.Time, most int64, what string) {
		t.Helper()
		n, err := f.Forget(t.Context(), before)
		replayForgets.ok(t, err, what)
		if n < 0 || n > most {
			replayForgets.fail(t, "%s: dropped %d, want %d at most", what, n, most)
		}
	}
	known := func(what string) {
		t.Helper()
		for i := range longer {
			use := signedUse(fmt.Sprint("long", i))
			use.Now, use.Until = epoch.Add(10*time.Minute), epoch.Add(10*time.Minute+time.Duration(i)*time.Microsecond)
			replayForgets.remembers(t, g, use, false, what)
		}
	}
	forget(epoch.Add(5*time.Minute-time.Microsecond), 0, "Forget before the end of all")
	replayForgets.remembers(t, g, short, false, "Remember of a key that is to be kept longer than what was forgotten")
	forget(epoch.Add(5*time.Minute), 1, "Forget at the end of one")
	known("Remember of a key that is to be kept longer than what was forgotten")
	forget(epoch.Add(10*time.Minute-time.Microsecond), 1, "Forget right before the end of the others")
	known("Remember of a key that is to be kept a microsecond longer than what was forgotten")
	forget(epoch, 0, "Forget of what is forgotten")
	known("Remember of a key after an earlier Forget")
	forget(epoch.Add(time.Hour), longer+1, "Forget after the end of all")
	forget(epoch.Add(time.Hour), 0, "Forget a second time")
	late := signedUse("late")
	late.Created, late.Now, late.Until = epoch.Add(time.Hour), epoch.Add(time.Hour), epoch.Add(65*time.Minute)
	replayForgets.remembers(t, g, late, true, "Remember of a new key after Forget")
	replayForgets.remembers(t, g, late, false, "Remember of a kept key after Forget")
}

// testReplayContext calls everything with a context that has ended.
func testReplayContext(t *testing.T, g apitoken.ReplayGuard) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	use := signedUse("context")
	refused := func(use apitoken.SignedUse, what string) {
		t.Helper()
		fresh, err := g.Remember(ended, use)
		replayError.outage(t, err, what)
		if fresh {
			replayError.fail(t, "%s: fresh is true", what)
		}
	}
	refused(signedUse("never stored"), "Remember of a new key with a context that has ended")
	replayKeeps.remembers(t, g, use, true, "Remember of a new key")
	refused(use, "Remember of a kept key with a context that has ended")
	if f, ok := g.(forgetter); ok {
		_, err := f.Forget(ended, epoch.Add(time.Hour))
		replayForgets.outage(t, err, "Forget with a context that has ended")
	}
	replayError.remembers(t, g, use, false, "Remember of a kept key after refused calls")
}
