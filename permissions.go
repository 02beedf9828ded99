package apitoken

import (
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"
)

const (
	// MaxPermissions bounds a [Catalog].
	MaxPermissions = 1024
	permWords      = MaxPermissions / 64
	maxPermName    = 128
)

// Permission is one thing that can be allowed.
type Permission struct {
	// Name, such as "devices:manage": 1 to 128 characters out of letters, digits
	// and :._-/ .
	Name string
	// API marks a permission that tokens may carry (S2.7). The others are for
	// people only.
	API bool
	// Implies names permissions that come along: manage of a thing implies view of
	// it (S2.22). A permission that tokens may carry can imply only such.
	Implies []string
}

// Role is a named set of permissions.
type Role struct {
	Name        string
	Permissions []string // what these imply comes along
}

// Catalog is the permissions and roles a host knows. It is immutable and safe
// for concurrent use. Tokens store names, never positions, so a Catalog may
// grow, shrink and be reordered between restarts.
type Catalog struct {
	names   []string // sorted; the index is the bit
	index   map[string]int
	api     [permWords]uint64
	implies [][permWords]uint64 // transitive, with the permission itself
	roles   map[string]Permissions
	words   int // how many words are in use
}

// NewCatalog makes a Catalog. All faults come joined, as [FieldError].
func NewCatalog(permissions []Permission, roles []Role) (*Catalog, error) {
	c := &Catalog{index: make(map[string]int, len(permissions)), roles: make(map[string]Permissions, len(roles))}
	var errs []error
	if len(permissions) > MaxPermissions {
		return nil, fieldErr("permissions", "%d permissions, at most %d are possible", len(permissions), MaxPermissions)
	}
	byName := make(map[string]Permission, len(permissions))
	for i, p := range permissions {
		field := fmt.Sprintf("permissions[%d]", i)
		if !validPermissionName(p.Name) {
			errs = append(errs, fieldErr(field, "%q is no permission name: use 1 to %d letters, digits and : . _ - /", p.Name, maxPermName))
			continue
		}
		if _, ok := byName[p.Name]; ok {
			errs = append(errs, fieldErr(field, "%q is listed twice: remove one", p.Name))
			continue
		}
		byName[p.Name] = p
		c.names = append(c.names, p.Name)
	}
	slices.Sort(c.names)
	c.words = (len(c.names) + 63) / 64
	for i, name := range c.names {
		c.index[name] = i
		if byName[name].API {
			setBit(&c.api, i)
		}
	}
	c.implies = make([][permWords]uint64, len(c.names))
	for i, name := range c.names {
		setBit(&c.implies[i], i)
		for _, implied := range byName[name].Implies {
			j, ok := c.index[implied]
			switch {
			case !ok:
				errs = append(errs, fieldErr("permissions", "%q implies %q, which is not in the catalog: add it or remove the implication", name, implied))
				continue
			case byName[name].API && !byName[implied].API:
				errs = append(errs, fieldErr("permissions", "%q may be put on tokens but implies %q, which may not: mark both or neither as API", name, implied))
			}
			setBit(&c.implies[i], j)
		}
	}
	c.closeImplications()
	for i, r := range roles {
		field := fmt.Sprintf("roles[%d]", i)
		if r.Name == "" {
			errs = append(errs, fieldErr(field, "a role needs a name"))
			continue
		}
		if _, ok := c.roles[r.Name]; ok {
			errs = append(errs, fieldErr(field, "role %q is listed twice: remove one", r.Name))
			continue
		}
		set, err := c.Set(r.Permissions...)
		if err != nil {
			errs = append(errs, fieldErr(field, "role %q: %s", r.Name, problems(err)))
			continue
		}
		c.roles[r.Name] = set
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return c, nil
}

// MustCatalog is [NewCatalog] for catalogs that are part of the program: it
// panics on a fault.
func MustCatalog(permissions []Permission, roles []Role) *Catalog {
	c, err := NewCatalog(permissions, roles)
	if err != nil {
		panic(err)
	}
	return c
}

// closeImplications makes the implications transitive.
func (c *Catalog) closeImplications() {
	for again := true; again; {
		again = false
		for i := range c.implies {
			before := c.implies[i]
			eachBit(before, func(j int) { orBits(&c.implies[i], &c.implies[j]) })
			again = again || before != c.implies[i]
		}
	}
}

// Set returns the named permissions and what they imply. Names the Catalog does
// not know are a [FieldError] each.
func (c *Catalog) Set(names ...string) (Permissions, error) {
	set := Permissions{catalog: c}
	var errs []error
	for i, name := range names {
		j, ok := c.lookup(name)
		if !ok {
			errs = append(errs, fieldErr(fmt.Sprintf("permissions[%d]", i), "%q is no permission of this catalog: check the spelling", clip(name)))
			continue
		}
		orBits(&set.bits, &c.implies[j])
	}
	if len(errs) > 0 {
		return Permissions{}, errors.Join(errs...)
	}
	return set, nil
}

// Known returns exactly those of the names that the Catalog knows, for names
// read back from storage: an unknown one grants nothing, and an implication that
// was added since grants nothing either.
func (c *Catalog) Known(names ...string) Permissions {
	set := Permissions{catalog: c}
	for _, name := range names {
		if j, ok := c.lookup(name); ok {
			setBit(&set.bits, j)
		}
	}
	return set
}

// Role returns what a role has, and whether there is such a role.
func (c *Catalog) Role(name string) (Permissions, bool) {
	if c == nil {
		return Permissions{}, false
	}
	set, ok := c.roles[name]
	return set, ok
}

// Roles returns the names of the roles, sorted.
func (c *Catalog) Roles() []string {
	if c == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(c.roles))
}

// All returns every permission, API returns those that tokens may carry (S2.7).
func (c *Catalog) All() Permissions {
	set := Permissions{catalog: c}
	if c != nil {
		for i := range c.names {
			setBit(&set.bits, i)
		}
	}
	return set
}

// API returns the permissions that tokens may carry (S2.7).
func (c *Catalog) API() Permissions {
	if c == nil {
		return Permissions{}
	}
	return Permissions{catalog: c, bits: c.api}
}

func (c *Catalog) lookup(name string) (int, bool) {
	if c == nil {
		return 0, false
	}
	j, ok := c.index[name]
	return j, ok
}

// Permissions is a set of permissions of one [Catalog], a plain comparable
// value. The zero Permissions is empty. Sets of different Catalogs have nothing
// in common.
type Permissions struct {
	catalog *Catalog
	bits    [permWords]uint64
}

// Names returns the names in the set, sorted; nil for the empty set.
func (p Permissions) Names() []string {
	if p.catalog == nil {
		return nil
	}
	var names []string
	eachBit(p.bits, func(i int) { names = append(names, p.catalog.names[i]) })
	return names
}

// Has reports whether the set holds the named permission.
func (p Permissions) Has(name string) bool {
	i, ok := p.catalog.lookup(name)
	return ok && p.bits[i/64]&(1<<(i%64)) != 0
}

// Len returns how many permissions the set holds.
func (p Permissions) Len() int {
	n := 0
	for _, w := range p.bits {
		n += bits.OnesCount64(w)
	}
	return n
}

// Union returns what is in either set. A set of another Catalog adds nothing.
func (p Permissions) Union(q Permissions) Permissions {
	if p.catalog == nil {
		return q
	}
	if q.catalog == p.catalog {
		orBits(&p.bits, &q.bits)
	}
	return p
}

// Intersect returns what is in both sets.
func (p Permissions) Intersect(q Permissions) Permissions {
	p.cut(&q)
	return p
}

// cut is Intersect in place, for the hot path.
func (p *Permissions) cut(q *Permissions) {
	if p.catalog == nil || p.catalog != q.catalog {
		*p = Permissions{}
		return
	}
	for i := range p.catalog.words {
		p.bits[i] &= q.bits[i]
	}
}

// Minus returns what is in p and not in q.
func (p Permissions) Minus(q Permissions) Permissions {
	if p.catalog == q.catalog {
		for i := range p.bits {
			p.bits[i] &^= q.bits[i]
		}
	}
	return p
}

// Covers reports whether all of q is in p.
func (p Permissions) Covers(q Permissions) bool { return p.covers(&q) }

// covers is Covers without copies, for the hot path.
func (p *Permissions) covers(q *Permissions) bool {
	if p.catalog != q.catalog {
		return q.Len() == 0
	}
	if p.catalog == nil {
		return true
	}
	for i := range p.catalog.words {
		if q.bits[i]&^p.bits[i] != 0 {
			return false
		}
	}
	return true
}

// With adds permissions and what they imply: choosing 'manage' chooses 'view'
// (S2.22). Unknown names are a [FieldError] each.
func (p Permissions) With(names ...string) (Permissions, error) {
	if p.catalog == nil {
		return p, fieldErr("permissions", "the set belongs to no catalog: begin with Catalog.Set")
	}
	q, err := p.catalog.Set(names...)
	if err != nil {
		return p, err
	}
	return p.Union(q), nil
}

// Without removes permissions and what implies them: removing 'view' removes
// 'manage' (S2.22). Names that are not in the set change nothing.
func (p Permissions) Without(names ...string) Permissions {
	for _, name := range names {
		i, ok := p.catalog.lookup(name)
		if !ok {
			continue
		}
		eachBit(p.bits, func(j int) {
			if p.catalog.implies[j][i/64]&(1<<(i%64)) != 0 {
				p.bits[j/64] &^= 1 << (j % 64)
			}
		})
	}
	return p
}

func validPermissionName(s string) bool {
	if s == "" || len(s) > maxPermName {
		return false
	}
	for i := range len(s) {
		if base62Digit[s[i]] == notBase62 && strings.IndexByte(":._-/", s[i]) < 0 {
			return false
		}
	}
	return true
}

func setBit(b *[permWords]uint64, i int) { b[i/64] |= 1 << (i % 64) }

func orBits(b, c *[permWords]uint64) {
	for i := range b {
		b[i] |= c[i]
	}
}

// eachBit calls f for each bit, in order. It works on a copy, so f may change
// the set it came from.
func eachBit(b [permWords]uint64, f func(i int)) {
	for w, word := range b {
		for ; word != 0; word &= word - 1 {
			f(w*64 + bits.TrailingZeros64(word))
		}
	}
}

// problems joins the messages of field errors for use inside another message.
func problems(err error) string {
	var all []string
	for _, f := range Fields(err) {
		all = append(all, f.Problem)
	}
	return strings.Join(all, "; ")
}
