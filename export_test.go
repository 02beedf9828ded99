package apitoken

import (
	"context"
	"net/netip"
	"time"
)

// What the external tests see of the inside.

const (
	IDLength     = idLen
	SecretLength = secretLen
	PrefixLength = maxPrefix
	Base62       = base62
)

var (
	FormatToken  = formatToken
	DigestSecret = digestSecret
	DigestLegacy = digestLegacy
	RandomBase62 = randomBase62
	ValidPrefix  = validPrefix
	HintOf       = hintOf
	ParseOrigin  = parseOrigin
	ParseDate    = parseDate
	SeenNetwork  = seenNetwork
	Clip         = clip
	Outage       = outage
)

func ParseToken(s string) (prefix string, id ID, secret string, ok bool) {
	p, ok := parseToken(s, nil)
	return p.prefix, p.id, p.secret, ok
}

func NetworkSet(prefixes []netip.Prefix) (contains func(netip.Addr) bool) {
	return newNetworkSet(prefixes).contains
}

func (l Lifetime) Resolve(e Expiry, now time.Time) (time.Time, error) { return l.resolve(e, now) }
func (l Lifetime) Bounds(now time.Time) (earliest, latest time.Time)  { return l.bounds(now) }
func (l Lifetime) Choose(now time.Time) []Period                      { return l.ranges(now) }
func (l Lifetime) Check(interval time.Duration) error                 { return l.check("Lifetime", interval) }
func (p Period) After(t time.Time) time.Time                          { return p.after(t) }

// Validate runs the checks of one sort of input.
func Validate(check string, s string) error {
	var f faults
	switch check {
	case "name":
		f.name(s)
	case "text":
		f.text("text", s, maxDescription, true)
	case "identifier":
		f.identifier("identifier", s)
	}
	return f.join()
}

func ValidateMetadata(m map[string]string) error {
	var f faults
	f.metadata(m)
	return f.join()
}

func ValidateOrigins(list ...string) ([]string, error) {
	var f faults
	out := f.origins("origins", list)
	return out, f.join()
}

func ValidateShare(percent int) error {
	var f faults
	f.share(percent)
	return f.join()
}

// Step is a step of a plan.
type Step struct {
	At   time.Time
	What EventType
}

// Plan carries out what is due on rec up to now, and returns it.
func Plan(rec *Record, now time.Time) []Step {
	var done []Step
	for st := range steps(rec, now, 0) {
		done = append(done, Step{st.at, st.what})
	}
	return done
}

// Arm returns the DueAt that rec would be stored with.
func Arm(rec *Record, now time.Time) time.Time {
	arm(rec, now)
	return rec.DueAt
}

// Buckets counts the buckets of a limiter.
func (l *MemoryLimiter) Buckets() int {
	n := 0
	for i := range l.shards {
		n += l.shards[i].buckets.used
	}
	return n
}

// Notes counts what a limiter has in its heaps, and Slots for how many buckets its
// tables have room.
func (l *MemoryLimiter) Notes() int {
	n := 0
	for i := range l.shards {
		n += len(l.shards[i].byFull)
	}
	return n
}

func (l *MemoryLimiter) Slots() int {
	n := 0
	for i := range l.shards {
		n += len(l.shards[i].buckets.slots)
	}
	return n
}

// BucketTable is the table of one shard of a limiter, with what a bucket has in it for
// a value.
type BucketTable struct{ t bucketTable }

func NewBucketTable() *BucketTable { return &BucketTable{newBucketTable()} }

func (b *BucketTable) Find(id uint64) (have float64, ok bool) {
	found := b.t.find(bucketID(id))
	return found.have, found.shape != nil
}

func (b *BucketTable) Add(id uint64, have float64) {
	b.t.add(bucket{id: bucketID(id), have: have, shape: new(shape)})
}

func (b *BucketTable) Set(id uint64, have float64) { b.t.find(bucketID(id)).have = have }
func (b *BucketTable) Remove(id uint64)            { b.t.remove(bucketID(id)) }
func (b *BucketTable) Len() int                    { return b.t.used }
func (b *BucketTable) Slots() int                  { return len(b.t.slots) }

// DueHeap is the heap of one.
type DueHeap struct{ h dueHeap }

func (d *DueHeap) Push(full int64)    { d.h.push(due{full: full}) }
func (d *DueHeap) Pop()               { d.h.pop() }
func (d *DueHeap) Replace(full int64) { d.h.replace(due{full: full}) }
func (d *DueHeap) Top() int64         { return d.h[0].full }
func (d *DueHeap) Len() int           { return len(d.h) }

// RecordUse counts a use as Verify does.
func (s *Service) RecordUse(rec *Record, now time.Time, from netip.Addr) {
	c, err := s.compile(context.Background(), rec)
	if err != nil {
		panic(err)
	}
	s.record(c, rec, now, from, false)
}

const (
	MaxArgonMemory = maxArgonMemory
	MaxArgonWork   = maxArgonWork
)

// ParseArgonHash reads a PHC string and writes it again.
func ParseArgonHash(text string) (memory, passes uint32, threads uint8, salt, sum []byte, again string, err error) {
	h, err := parseArgonHash(text)
	if err != nil {
		return 0, 0, 0, nil, nil, "", err
	}
	return h.memory, h.passes, h.threads, h.salt, h.sum, h.String(), nil
}

// NewArgonHash hashes as an import does.
func NewArgonHash(secret string) string { return newArgonHash(secret).String() }

// ArgonMatches compares a secret with a hash.
func ArgonMatches(text, secret string) bool {
	h, err := parseArgonHash(text)
	return err == nil && h.matches(secret)
}

var (
	CheckBcrypt  = checkBcrypt
	DecodeDigest = decodeDigest
)

// HoldSlowHash takes one of the places for slow hashes until release is called.
func (s *Service) HoldSlowHash() (release func()) {
	s.slow.slots <- struct{}{}
	return func() { <-s.slow.slots }
}

// ImportedID and ImportedAlias are what an imported key is stored under.
func (s *Service) ImportedID(format, row string) ID {
	return ID(s.keyedText(idLen, "id", format, row))
}

func (s *Service) ImportedAlias(format int, key string) string {
	return s.aliasOf(s.legacy[format], key)
}

// PeriodStart and PeriodEnd are those of the day, week or month (0, 1, 2) that holds t.
func PeriodStart(p int, t time.Time) time.Time  { return period(p).start(t) }
func PeriodEnd(p int, from time.Time) time.Time { return period(p).end(from) }
