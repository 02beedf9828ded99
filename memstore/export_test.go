package memstore

// Counts returns how many keys the guard knows, how many of them its buckets and its
// tokens have, and how many buckets and tokens it holds.
func (g *ReplayGuard) Counts() (seen, inBuckets, ofTokens, buckets, tokens int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, b := range g.buckets {
		inBuckets += len(b.keys)
	}
	for _, n := range g.tokens {
		ofTokens += n
	}
	return len(g.seen), inBuckets, ofTokens, len(g.buckets), len(g.tokens)
}

// Replays is the guard of the Store.
func (s *Store) Replays() *ReplayGuard { return s.replays }
