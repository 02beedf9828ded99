package memstore

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/tokenry/apitoken"
)

// coder writes values as bytes and reads them back. One walk over the fields
// serves both, so that they cannot differ; storetest finds a field that the walk
// forgets. Strings that were read share one string.
type coder struct {
	reading bool
	in      string
	out     []byte
}

// begin makes the coder ready to write.
func (c *coder) begin() { c.out = c.out[:0] }

// record walks over all of a record but what has columns in its row: version,
// due instant and usage. The ID comes first.
func (c *coder) record(rec *apitoken.Record) {
	t := &rec.Token
	c.text((*string)(&t.ID))
	c.text(&t.Tenant)
	c.text((*string)(&t.Kind))
	c.text(&t.Name)
	c.text(&t.Description)
	c.text(&t.Hint)
	c.pairs(&t.Metadata)
	c.text(&t.Owner)
	c.text(&t.Agent)
	c.text(&t.Creator)
	c.text((*string)(&t.State))
	c.text((*string)(&t.Cause))
	c.text(&t.Reason)
	c.time(&t.StateAt)
	c.flag(&t.Grant.Live)
	c.flag(&t.Grant.Cut)
	c.text(&t.Grant.Role)
	c.texts(&t.Grant.Permissions)
	c.flag(&t.Resources.All)
	c.texts(&t.Resources.Groups)
	c.networks(&t.Networks)
	c.texts(&t.Origins)
	c.count(&t.Share)
	c.time(&t.CreatedAt)
	c.time(&t.UpdatedAt)
	c.time(&t.ExpiresAt)
	c.time(&t.ExpirySetAt)
	c.flag(&t.WholeDay)
	c.time(&t.RotatedAt)
	c.number((*int64)(&t.Terms.Idle))
	c.number((*int64)(&t.Terms.Interval))
	c.text((*string)(&t.Terms.AfterExpiry))
	c.number((*int64)(&t.Terms.Purge))
	c.flag(&t.Terms.RevokeOnDeactivation)

	c.slot(&rec.Primary)
	c.slot(&rec.Previous)
	c.time(&rec.PreviousUntil)
	c.flag(&rec.ReuseReported)
	c.text(&rec.Alias)
	c.slot(&rec.Legacy)
	c.text(&rec.IdempotencyKey)
	c.bytes(&rec.IssueSum)
	c.text(&rec.RotateKey)
	c.bytes(&rec.RotateSum)
	c.flag(&rec.ExpiryDone)
	c.text(&rec.Op)
}

// seen walks over what a row has no column for in a usage.
func (c *coder) seen(u *apitoken.Usage) {
	c.address(&u.Address)
	c.networks(&u.Networks)
}

// event walks over an event, but for Deliver, which the outbox keeps.
func (c *coder) event(e *apitoken.Event) {
	c.text(&e.ID)
	c.text((*string)(&e.Type))
	c.text(&e.Message)
	c.text(&e.Category)
	c.time(&e.Time)
	c.time(&e.DueAt)
	c.text(&e.Tenant)
	c.party(&e.Actor)
	c.text((*string)(&e.Via))
	c.text((*string)(&e.Target.Token))
	c.text(&e.Target.Name)
	c.text((*string)(&e.Target.Kind))
	c.party(&e.Target.Owner)
	c.number(&e.Version)
	c.count(&e.Ordinal)
	c.text((*string)(&e.Cause))
	c.text(&e.Reason)
	c.texts(&e.Changed)
	c.time(&e.ExpiresAt)
	c.text(&e.Creator)
	c.text(&e.RequestID)
	c.address(&e.Address)
}

func (c *coder) party(p *apitoken.Party) {
	c.text((*string)(&p.Type))
	c.text(&p.ID)
}

func (c *coder) slot(s *apitoken.Slot) {
	c.text(&s.Algorithm)
	c.text(&s.KeyID)
	c.text(&s.Prefix)
	c.bytes(&s.Blob)
}

// take cuts n bytes off what is read.
func (c *coder) take(n int) string {
	s := c.in[:n]
	c.in = c.in[n:]
	return s
}

// length walks over the length of a string or list: n is what is written, the
// result what is read.
func (c *coder) length(n int) int {
	if !c.reading {
		c.out = binary.AppendUvarint(c.out, uint64(n))
		return n
	}
	return int(c.unsigned())
}

// unsigned reads a varint.
func (c *coder) unsigned() uint64 {
	var n uint64
	for i := 0; ; i++ {
		b := c.in[i]
		n |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			c.in = c.in[i+1:]
			return n
		}
	}
}

func (c *coder) number(p *int64) {
	if !c.reading {
		c.out = binary.AppendUvarint(c.out, uint64(*p))
		return
	}
	*p = int64(c.unsigned())
}

func (c *coder) count(p *int) {
	n := int64(*p)
	c.number(&n)
	if c.reading {
		*p = int(n)
	}
}

func (c *coder) time(p *time.Time) {
	if !c.reading {
		c.out = binary.AppendUvarint(c.out, uint64(stamp(*p)))
		return
	}
	*p = instant(int64(c.unsigned()))
}

func (c *coder) flag(p *bool) {
	if c.reading {
		*p = c.take(1) == "\x01"
		return
	}
	var b byte
	if *p {
		b = 1
	}
	c.out = append(c.out, b)
}

func (c *coder) text(p *string) {
	n := c.length(len(*p))
	if !c.reading {
		c.out = append(c.out, *p...)
		return
	}
	if *p = ""; n > 0 { // an empty piece of a string would still point at it
		*p = c.take(n)
	}
}

func (c *coder) bytes(p *[]byte) {
	n := c.length(len(*p))
	if !c.reading {
		c.out = append(c.out, *p...)
		return
	}
	if n > 0 {
		*p = []byte(c.take(n))
	}
}

func (c *coder) texts(p *[]string) { elements(c, p, c.text) }

func (c *coder) networks(p *[]netip.Prefix) { elements(c, p, c.network) }

// elements walks over a list with walk for its elements.
func elements[T any](c *coder, p *[]T, walk func(*T)) {
	n := c.length(len(*p))
	if c.reading && n > 0 {
		*p = make([]T, n)
	}
	for i := range *p {
		walk(&(*p)[i])
	}
}

func (c *coder) pairs(p *map[string]string) {
	n := c.length(len(*p))
	if !c.reading {
		for k, v := range *p {
			c.text(&k)
			c.text(&v)
		}
		return
	}
	if n > 0 {
		*p = make(map[string]string, n)
	}
	for range n {
		var k, v string
		c.text(&k)
		c.text(&v)
		(*p)[k] = v
	}
}

func (c *coder) address(p *netip.Addr) {
	if c.reading {
		// What was written reads back: the error is always nil, here and below.
		_ = p.UnmarshalBinary([]byte(c.take(c.length(0))))
		return
	}
	b, _ := p.MarshalBinary()
	c.bytes(&b)
}

func (c *coder) network(p *netip.Prefix) {
	if c.reading {
		_ = p.UnmarshalBinary([]byte(c.take(c.length(0))))
		return
	}
	b, _ := p.MarshalBinary()
	c.bytes(&b)
}
