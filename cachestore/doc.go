// Package cachestore keeps verified tokens in memory, in front of any
// [apitoken.Store], so that a request does not wait for the database. [New]
// decorates a Store, [NewOwners] the host's owner look-up; both follow the same
// rules. Without them nothing is cached, and every change counts on every node
// at once.
//
// What a cache promises:
//
//   - An answer is never older than [Options].MaxStale, counted from before the
//     read that it rests on began. So a token that was revoked or disabled, or
//     whose owner was deactivated, anywhere, is refused by every node within
//     MaxStale, and no message between nodes is needed for that.
//   - A change made through this Store counts on this node when the call returns,
//     also when its answer was lost.
//   - The store's failure is never an answer. What cannot be confirmed within
//     MaxStale is not used; the request then asks the store, and gets its error.
//   - Memory is bounded. IDs that nobody was issued cannot push out those that
//     somebody uses, because they have a small place of their own.
//
// Only verification is answered from memory: [apitoken.Records] of a Store,
// Standing of Owners. Calls that manage tokens, the refusal of an idle token, older
// credentials (GetByAlias) and the tenant's origins read the store each time.
//
// Entries are confirmed, not only read again: where the store offers
// [apitoken.Revisions], one statement confirms up to 500 tokens in use, and what
// was compiled from them stays. That happens in the request that finds an entry too
// old, or ahead of it if the host runs [Store.Run].
//
// Duties of the host:
//
//  1. The inner store must answer with what was committed last. If it reads from
//     a replica that lags, the lag adds to MaxStale.
//  2. Every node that changes tokens may do it through a cache or past one. Changes
//     past it, by another node or by hand, are seen within MaxStale; call
//     [Store.Forget] from a LISTEN/NOTIFY or pub/sub handler to see them sooner.
//     [Options].Changed says when to send one. Such hints may be lost, doubled or
//     late.
//  3. All changes are seen late by other nodes, the welcome ones too: a value that
//     was rotated or a token that was enabled a moment ago may be refused there for
//     MaxStale. Send hints if your clients switch nodes that fast.
//  4. Inside a transaction of the host's own nothing is answered from memory and
//     nothing is kept. This node learns of what it changed like any other, within
//     MaxStale; call Forget after the commit to make it at once.
//
// Nodes' clocks need not agree: only differences on one node count. A clock that is
// set back, or a machine that slept, makes entries older, never younger.
package cachestore
