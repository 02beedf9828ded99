package main

import (
	"context"
	"sync"
	"time"

	"github.com/tokenry/apitoken"
)

// What this server knew before it had API tokens: its permissions, its users,
// its data. A real one asks its database.

// catalog names what can be allowed. Whoever may manage devices may view them;
// billing is for people only, no token carries it.
var catalog = apitoken.MustCatalog([]apitoken.Permission{
	{Name: "devices:view", API: true},
	{Name: "devices:manage", API: true, Implies: []string{"devices:view"}},
	{Name: "reports:view", API: true},
	{Name: "geolocation:view", API: true},
	{Name: "addresses:view", API: true},
	{Name: "tokens:manage", API: true},
	{Name: "deploy", API: true},
	{Name: "billing:manage"},
}, []apitoken.Role{
	{Name: "administrator", Permissions: []string{
		"devices:manage", "reports:view", "geolocation:view", "addresses:view", "tokens:manage", "deploy", "billing:manage"}},
	{Name: "analyst", Permissions: []string{"devices:view", "reports:view"}},
	{Name: "deploy", Permissions: []string{"deploy"}},
})

// The requirements of the routes. A console that people use would check the
// same ones against the permissions of its user.
var (
	viewDevices   = catalog.MustRequire("devices:view").Field("geoData", "geolocation:view", "addresses:view")
	manageDevices = catalog.MustRequire("devices:manage")
	viewReports   = catalog.MustRequire("devices:view", "reports:view")
	manageTokens  = catalog.MustRequire("tokens:manage")
)

// uses says which kinds of token are accepted for what: only a node's own token
// deploys it.
var uses = map[string][]apitoken.Kind{"deploy": {"node"}}

// limits are per token. A report takes the database a while, so one token gets two
// at once and then one every half minute.
var limits = map[string]apitoken.Limit{"reports": {Quota: 2, Window: time.Minute}}

// person is a user in one tenant: the same name elsewhere is somebody else.
type person struct{ tenant, user string }

// directory is the users, by role.
type directory map[person]string

var users = directory{
	{"acme", "alice"}:   "administrator",
	{"acme", "bob"}:     "analyst",
	{"globex", "greta"}: "administrator",
}

// Standing implements apitoken.Owners. A directory that cannot answer returns
// its own error, never ErrNotFound: the request is then refused as an outage.
func (d directory) Standing(_ context.Context, tenant, user string) (apitoken.Standing, error) {
	role, ok := d[person{tenant, user}]
	if !ok {
		return apitoken.Standing{}, apitoken.ErrNotFound
	}
	permissions, _ := catalog.Role(role)
	return apitoken.Standing{
		Active:      true,
		Permissions: permissions,
		Roles:       []string{role},
		Resources:   apitoken.Resources{All: true},
	}, nil
}

// device is what the API is about.
type device struct {
	ID      string   `json:"id"`
	Owner   string   `json:"owner"`
	Locked  bool     `json:"locked"`
	GeoData *geoData `json:"geoData,omitempty"`
}

type geoData struct {
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
	Address   string  `json:"address"`
}

// inventory keeps the devices of each tenant. Every method takes the tenant of
// the principal, so that no handler can forget it.
type inventory struct {
	mu      sync.Mutex
	devices map[string]map[string]device
}

func newInventory() *inventory {
	return &inventory{devices: map[string]map[string]device{
		"acme": {
			"laptop-7": {ID: "laptop-7", Owner: "bob", GeoData: &geoData{52.52, 13.405, "Unter den Linden 1, Berlin"}},
		},
		"globex": {
			"tablet-1": {ID: "tablet-1", Owner: "greta", GeoData: &geoData{48.137, 11.575, "Marienplatz 8, Munich"}},
		},
	}}
}

func (inv *inventory) get(tenant, id string) (device, bool) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	d, ok := inv.devices[tenant][id]
	return d, ok
}

func (inv *inventory) lock(tenant, id string) (device, bool) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	d, ok := inv.devices[tenant][id]
	if ok {
		d.Locked = true
		inv.devices[tenant][id] = d
	}
	return d, ok
}

func (inv *inventory) count(tenant string) (all, locked int) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	for _, d := range inv.devices[tenant] {
		all++
		if d.Locked {
			locked++
		}
	}
	return all, locked
}
