package memstore

import (
	"time"

	"github.com/tokenry/apitoken"
)

// row is a token as it is kept: without pointers, so that a million of them
// cost the garbage collector nothing. What changes often, and what is compared
// without decoding, has a column; all else is in the body.
type row struct {
	body    ref   // the encoded record; never empty while the row is in use
	seen    ref   // the encoded address and networks of the last use
	version int64 // of the token
	due     int64 // stamps
	last    int64
	legacy  int64
	uses    int64
	periods [3]periodUses // day, week and month
	member  uint32        // place in its tenant's list
	queue   uint32        // place in the due queue, if due is set
}

// periodUses is an [apitoken.PeriodUses].
type periodUses struct{ from, uses int64 }

func (p *periodUses) read() apitoken.PeriodUses {
	return apitoken.PeriodUses{From: instant(p.from), Uses: p.uses}
}

func (p *periodUses) write(u apitoken.PeriodUses) { p.from, p.uses = stamp(u.From), u.Uses }

// rows are all rows, by number.
type rows struct {
	blocks []*[rowBlock]row
	free   []uint32
	next   uint32
}

const rowBlock = 256

func (r *rows) at(n uint32) *row { return &r.blocks[n/rowBlock][n%rowBlock] }

// add returns the number of an empty row.
func (r *rows) add() uint32 {
	if n := len(r.free); n > 0 {
		i := r.free[n-1]
		r.free = r.free[:n-1]
		return i
	}
	i := r.next
	r.next++
	if int(i/rowBlock) == len(r.blocks) {
		r.blocks = append(r.blocks, new([rowBlock]row))
	}
	return i
}

func (r *rows) drop(n uint32) {
	*r.at(n) = row{}
	r.free = append(r.free, n)
}

// stamp is an instant as a number that orders as instants do; the zero instant
// is 0.
func stamp(t time.Time) int64 { return t.UnixMicro() - yearOne }

func instant(n int64) time.Time { return time.UnixMicro(n + yearOne).UTC() }

var yearOne = time.Time{}.UnixMicro()

// write stores rec in the row, but for its usage.
func (s *Store) write(r *row, rec *apitoken.Record) {
	s.coder.begin()
	s.coder.record(rec)
	r.body = s.slab.replace(r.body, s.coder.out)
	r.version, r.due = rec.Token.Version, stamp(rec.DueAt)
}

// writeUsage stores u in the row.
func (s *Store) writeUsage(r *row, u *apitoken.Usage) {
	r.uses, r.last, r.legacy = u.Uses, stamp(u.LastUsed), stamp(u.Legacy)
	for i, of := range []apitoken.PeriodUses{u.Day, u.Week, u.Month} {
		r.periods[i].write(of)
	}
	s.writeSeen(r, u)
}

// writeSeen stores address and networks of u in the row.
func (s *Store) writeSeen(r *row, u *apitoken.Usage) {
	s.coder.begin()
	if u.Address.IsValid() || len(u.Networks) > 0 {
		s.coder.seen(u)
	}
	r.seen = s.slab.replace(r.seen, s.coder.out)
}

// read fills in an empty rec with the row. The record shares nothing with the
// row.
func (s *Store) read(r *row, rec *apitoken.Record) {
	c := coder{in: string(s.slab.get(r.body)), reading: true}
	c.record(rec)
	rec.Token.Version, rec.DueAt = r.version, instant(r.due)
	u := &rec.Token.Usage
	u.Uses, u.LastUsed, u.Legacy = r.uses, instant(r.last), instant(r.legacy)
	u.Day, u.Week, u.Month = r.periods[0].read(), r.periods[1].read(), r.periods[2].read()
	if r.seen.size > 0 {
		c = coder{in: string(s.slab.get(r.seen)), reading: true}
		c.seen(u)
	}
}

// id returns the ID of the row's token without decoding it.
func (s *Store) id(r *row) []byte {
	return s.slab.get(r.body)[1 : 1+idLength] // after its length
}
