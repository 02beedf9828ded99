package apitoken

import (
	"maps"
	"slices"
)

// Requirement is what an action needs, checkable against a token's permissions
// and a person's (S2.8). It is immutable. The zero Requirement needs nothing.
type Requirement struct {
	r *requirement
}

type requirement struct {
	need   Permissions
	groups []string               // resource groups, sorted
	fields map[string]Permissions // parameters and returned fields that need more
}

// Require returns a Requirement of all the named permissions at once.
func (c *Catalog) Require(names ...string) (Requirement, error) {
	need, err := c.Set(names...)
	if err != nil {
		return Requirement{}, err
	}
	return Requirement{&requirement{need: need}}, nil
}

// MustRequire is [Catalog.Require] for routes that are part of the program: it
// panics on an unknown name, like a bad pattern of http.ServeMux.
func (c *Catalog) MustRequire(names ...string) Requirement {
	r, err := c.Require(names...)
	if err != nil {
		panic(err)
	}
	return r
}

// Field says that a parameter or returned field needs these permissions beside
// the Requirement's own (S2.8). It takes effect through [Requirement.Asking] and
// [Requirement.FieldAllowed]. Said twice of a field, both hold. It panics on an
// unknown permission.
func (r Requirement) Field(field string, names ...string) Requirement {
	c := r.clone()
	if c.need.catalog == nil {
		panic("apitoken: Field on a Requirement without a Catalog: begin with Catalog.Require")
	}
	more, err := c.need.catalog.Set(names...)
	if err != nil {
		panic(err)
	}
	if c.fields == nil {
		c.fields = make(map[string]Permissions)
	}
	c.fields[field] = c.fields[field].Union(more)
	return Requirement{c}
}

// Asking returns the Requirement of a request that asks for these parameters or
// fields: those declared with [Requirement.Field] add what they need.
func (r Requirement) Asking(fields ...string) Requirement {
	if r.r == nil {
		return r
	}
	c := r.clone()
	for _, f := range fields {
		if more, ok := c.fields[f]; ok {
			c.need = c.need.Union(more)
		}
	}
	return Requirement{c}
}

// In returns the Requirement that also needs all these resource groups.
func (r Requirement) In(groups ...string) Requirement {
	c := r.clone()
	c.groups = append(c.groups, groups...)
	slices.Sort(c.groups)
	c.groups = slices.Compact(c.groups)
	return Requirement{c}
}

func (r Requirement) clone() *requirement {
	if r.r == nil {
		return &requirement{}
	}
	return &requirement{need: r.r.need, groups: slices.Clone(r.r.groups), fields: maps.Clone(r.r.fields)}
}

// Check returns nil if permissions and resources satisfy the Requirement, else
// a [PermissionError] that names all that is missing. With a person's
// permissions it answers whether the person may do the same in the console.
func (r Requirement) Check(have Permissions, resources Resources) error {
	return r.check(&have, &resources)
}

// check is Check without copies, for the hot path.
func (r Requirement) check(have *Permissions, resources *Resources) error {
	if r.r == nil || have.covers(&r.r.need) && resources.hasAll(r.r.groups) {
		return nil
	}
	return r.missing(have, resources)
}

func (r Requirement) missing(have *Permissions, resources *Resources) error {
	e := &PermissionError{Missing: r.r.need.Minus(*have).Names()}
	for _, g := range r.r.groups {
		if !resources.Has(g) {
			e.Groups = append(e.Groups, g)
		}
	}
	if len(e.Missing) == 0 && len(e.Groups) == 0 {
		return nil
	}
	return e
}

// FieldAllowed reports whether a returned field may be shown to one who has
// these permissions: leave it out otherwise (S2.8). A field that was not
// declared with [Requirement.Field] needs nothing more.
func (r Requirement) FieldAllowed(have Permissions, field string) bool {
	if r.r == nil {
		return true
	}
	more, declared := r.r.fields[field]
	return !declared || have.Covers(more)
}
