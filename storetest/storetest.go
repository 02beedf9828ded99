// Package storetest holds implementations of [apitoken.Store] to its contract.
//
// An implementation's test is five lines:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) apitoken.Store {
//			return mystore.New(...)
//		})
//	}
//
// A failure says what was seen and quotes the sentence of the contract that it
// breaks. Run it with the race detector too.
package storetest

import (
	"testing"

	"github.com/tokenry/apitoken"
)

// Run runs the whole suite. It calls newStore for an empty store several times,
// one after the other, never while a store from an earlier call is still in use:
// newStore may empty one database. What it opens it closes with t.Cleanup.
//
// A store that offers [apitoken.Records] or [apitoken.Revisions], itself or through
// [apitoken.Unwrapper], is held to that contract too.
func Run(t *testing.T, newStore func(t *testing.T) apitoken.Store) {
	t.Helper()
	for _, topic := range []struct {
		name string
		run  func(t *testing.T, newStore func(t *testing.T) apitoken.Store)
	}{
		{"round trip", testRoundTrip},
		{"create", testCreate},
		{"get", testGet},
		{"swap", testSwap},
		{"replace", testReplace},
		{"delete", testDelete},
		{"guard", testGuard},
		{"touch", testTouch},
		{"period uses", testPeriodUses},
		{"list", testList},
		{"counts", testCounts},
		{"due", testDue},
		{"events", testEvents},
		{"outbox", testOutbox},
		{"settings", testSettings},
		{"stats", testStats},
		{"records", testRecords},
		{"revisions", testRevisions},
		{"copies", testCopies},
		{"context", testContext},
		{"race", testRace},
	} {
		t.Run(topic.name, func(t *testing.T) { topic.run(t, newStore) })
	}
}
