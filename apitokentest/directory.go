package apitokentest

import (
	"context"
	"slices"
	"sync"

	"github.com/tokenry/apitoken"
)

// directory is what the fakes of the host's look-ups have in common: answers by
// tenant and name, one for all others, and an outage.
type directory[V any] struct {
	mu      sync.Mutex
	outage  error
	calls   int
	answers map[[2]string]V
	gone    map[[2]string]bool
	others  *V
}

func (d *directory[V]) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.outage = err
}

func (d *directory[V]) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls
}

func (d *directory[V]) set(tenant, name string, v V) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := [2]string{tenant, name}
	if d.answers == nil {
		d.answers = make(map[[2]string]V)
	}
	d.answers[key] = v
	delete(d.gone, key)
}

func (d *directory[V]) setOthers(v V) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.others = &v
}

func (d *directory[V]) remove(tenant, name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := [2]string{tenant, name}
	if d.gone == nil {
		d.gone = make(map[[2]string]bool)
	}
	delete(d.answers, key)
	d.gone[key] = true
}

// change applies f to an answer, that of all others or the zero one if there is
// none.
func (d *directory[V]) change(tenant, name string, f func(*V)) {
	d.mu.Lock()
	v, _ := d.find(tenant, name)
	d.mu.Unlock()
	f(&v)
	d.set(tenant, name, v)
}

// find looks up an answer. The caller holds d.mu.
func (d *directory[V]) find(tenant, name string) (v V, ok bool) {
	key := [2]string{tenant, name}
	if v, ok = d.answers[key]; ok {
		return v, true
	}
	if d.gone[key] || d.others == nil {
		return v, false
	}
	return *d.others, true
}

func (d *directory[V]) ask(ctx context.Context, tenant, name string) (v V, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	if err := ctx.Err(); err != nil {
		return v, err
	}
	if d.outage != nil {
		return v, d.outage
	}
	v, ok := d.find(tenant, name)
	if !ok {
		return v, apitoken.ErrNotFound
	}
	return v, nil
}

// Owners is an [apitoken.Owners] in memory. The zero value knows nobody. It is
// safe for concurrent use.
type Owners struct{ d directory[apitoken.Standing] }

// Set says how a user stands.
func (o *Owners) Set(tenant, user string, st apitoken.Standing) { o.d.set(tenant, user, st) }

// SetOthers says how every user stands who was never set or removed.
func (o *Owners) SetOthers(st apitoken.Standing) { o.d.setOthers(st) }

// SetActive activates or deactivates a user, and leaves permissions and roles as
// they are.
func (o *Owners) SetActive(tenant, user string, active bool) {
	o.d.change(tenant, user, func(st *apitoken.Standing) { st.Active = active })
}

// SetPermissions changes what a user may do.
func (o *Owners) SetPermissions(tenant, user string, set apitoken.Permissions) {
	o.d.change(tenant, user, func(st *apitoken.Standing) { st.Permissions = set })
}

// SetRoles changes a user's roles.
func (o *Owners) SetRoles(tenant, user string, roles ...string) {
	o.d.change(tenant, user, func(st *apitoken.Standing) { st.Roles = roles })
}

// Remove makes a user unknown.
func (o *Owners) Remove(tenant, user string) { o.d.remove(tenant, user) }

// Fail makes every look-up answer err, until Fail(nil).
func (o *Owners) Fail(err error) { o.d.fail(err) }

// Calls returns how often it was asked.
func (o *Owners) Calls() int { return o.d.count() }

// Standing implements [apitoken.Owners].
func (o *Owners) Standing(ctx context.Context, tenant, user string) (apitoken.Standing, error) {
	st, err := o.d.ask(ctx, tenant, user)
	st.Roles = slices.Clone(st.Roles)
	st.Resources.Groups = slices.Clone(st.Resources.Groups)
	return st, err
}

// Agents is an [apitoken.Agents] in memory. The zero value knows none. It is
// safe for concurrent use.
type Agents struct {
	d directory[apitoken.Registration]
}

// Set says how an agent is registered.
func (a *Agents) Set(tenant, agent string, reg apitoken.Registration) { a.d.set(tenant, agent, reg) }

// SetActive activates or deactivates an agent.
func (a *Agents) SetActive(tenant, agent string, active bool) {
	a.d.change(tenant, agent, func(reg *apitoken.Registration) { reg.Active = active })
}

// Remove unregisters an agent.
func (a *Agents) Remove(tenant, agent string) { a.d.remove(tenant, agent) }

// Fail makes every look-up answer err, until Fail(nil).
func (a *Agents) Fail(err error) { a.d.fail(err) }

// Calls returns how often it was asked.
func (a *Agents) Calls() int { return a.d.count() }

// Registration implements [apitoken.Agents].
func (a *Agents) Registration(ctx context.Context, tenant, agent string) (apitoken.Registration, error) {
	return a.d.ask(ctx, tenant, agent)
}

// Admins is an [apitoken.Admins] in memory. The zero value knows none. It is
// safe for concurrent use.
type Admins struct {
	d directory[[]apitoken.Administrator]
}

// Set says who administers a tenant.
func (a *Admins) Set(tenant string, admins ...apitoken.Administrator) {
	a.d.set(tenant, "", slices.Clone(admins))
}

// Fail makes every look-up answer err, until Fail(nil).
func (a *Admins) Fail(err error) { a.d.fail(err) }

// Calls returns how often it was asked.
func (a *Admins) Calls() int { return a.d.count() }

// Administrators implements [apitoken.Admins].
func (a *Admins) Administrators(ctx context.Context, tenant string) ([]apitoken.Administrator, error) {
	list, err := a.d.ask(ctx, tenant, "")
	return slices.Clone(list), err
}

// Entitlements is an [apitoken.Entitlements] in memory. The zero value entitles
// nobody to anything. It is safe for concurrent use.
type Entitlements struct {
	d directory[apitoken.Permissions]
}

// Set says what a tenant's licences cover.
func (e *Entitlements) Set(tenant string, set apitoken.Permissions) { e.d.set(tenant, "", set) }

// SetOthers says what the licences of every tenant cover that was never set or
// removed.
func (e *Entitlements) SetOthers(set apitoken.Permissions) { e.d.setOthers(set) }

// Remove makes a tenant unknown: it is entitled to nothing.
func (e *Entitlements) Remove(tenant string) { e.d.remove(tenant, "") }

// Fail makes every look-up answer err, until Fail(nil).
func (e *Entitlements) Fail(err error) { e.d.fail(err) }

// Calls returns how often it was asked.
func (e *Entitlements) Calls() int { return e.d.count() }

// Entitled implements [apitoken.Entitlements].
func (e *Entitlements) Entitled(ctx context.Context, tenant string) (apitoken.Permissions, error) {
	return e.d.ask(ctx, tenant, "")
}
