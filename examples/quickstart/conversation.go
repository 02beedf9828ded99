package main

import (
	"crypto/rand"
	"errors"
	"time"

	"github.com/tokenry/apitoken"
)

// keepsakes are the tokens that are asked about once more after a restart.
type keepsakes struct {
	reader, admin, node string
	readerID, nodeID    string
}

// hold has the conversation. The first tokens are issued by the host itself, as
// its console does for people who have signed in.
func (c *conversation) hold(tokens apitoken.Issuer) (keepsakes, error) {
	var failed error
	issue := func(user, tenant string, req apitoken.IssueRequest) (value, id string) {
		issued, err := tokens.Issue(c.ctx, apitoken.Actor{ID: user, Tenant: tenant}, req)
		failed = errors.Join(failed, err)
		return issued.Secret.Reveal(), string(issued.Token.ID)
	}
	hour := apitoken.ExpiresIn(time.Hour)
	reader, readerID := issue("alice", "acme", apitoken.IssueRequest{Kind: "shared", Name: "dashboard", Permissions: []string{"devices:view"}})
	analyst, _ := issue("bob", "acme", apitoken.IssueRequest{Name: "reports", Expiry: apitoken.ExpiresAfter(apitoken.Period{Days: 30})})
	admin, _ := issue("alice", "acme", apitoken.IssueRequest{Name: "terminal", Expiry: hour})
	stranger, _ := issue("greta", "globex", apitoken.IssueRequest{Name: "terminal", Expiry: hour})
	if failed != nil {
		return keepsakes{}, failed
	}
	c.devices(reader, analyst, admin, stranger)
	id, value := c.issuing(admin, analyst)
	node, nodeID := c.deploying(admin)
	value = c.changing(admin, stranger, id, value)
	c.ending(admin, id, value, nodeID)
	return keepsakes{reader: reader, readerID: readerID, admin: admin, node: node, nodeID: nodeID}, nil
}

// devices is what the API is for: reading, writing, and being refused.
func (c *conversation) devices(reader, analyst, admin, stranger string) {
	const device, lock = "GET /v1/devices/laptop-7", "POST /v1/devices/laptop-7/lock"
	c.ask(exchange{says: "Nobody gets in without a token.",
		request: device, status: 401, reason: "unauthenticated"})
	c.ask(exchange{says: "A damaged token looks the same from outside.",
		request: device, as: reader[:len(reader)-1] + "!", status: 401, reason: "unauthenticated"})
	c.ask(exchange{says: "A token that may view devices does. It does not get geoData.",
		request: device, as: reader, status: 200, has: []string{`"laptop-7"`}, lacks: []string{"geoData"}})
	c.ask(exchange{says: "Asked for by name, the field is refused, with what it needs.",
		request: device + "?field=geoData", as: reader, status: 403, reason: "permission", has: []string{`"addresses:view"`, `"geolocation:view"`}})
	c.ask(exchange{says: "It may not change anything, and the answer names the permission.",
		request: lock, as: reader, status: 403, reason: "permission", has: []string{`"devices:manage"`}})
	c.ask(exchange{says: "A route may need several permissions; only the missing one is named.",
		request: "GET /v1/reports/devices", as: reader, status: 403, reason: "permission", has: []string{`"reports:view"`}, lacks: []string{`"devices:view"`}})
	report := exchange{says: "An analyst's token has both. The header says what is left of the route's limit.",
		request: "GET /v1/reports/devices", as: analyst, status: 200, has: []string{`"devices":1`, `"locked":0`},
		fields: []string{`RateLimit: "reports";r=1;t=`, `RateLimit-Policy: "reports";q=2;w=60`}}
	c.ask(report)
	report.says, report.fields[0] = "A second report is the last one for now.", `RateLimit: "reports";r=0;t=`
	c.ask(report)
	report.says, report.status, report.reason, report.has = "A third one is too much, and the answer says when to come back.", 429, "rate_limited", []string{`quota-exceeded`, `"violated-policies":["reports"]`}
	report.fields = append(report.fields, "Retry-After: ")
	c.ask(report)
	c.ask(exchange{says: "The administrator's token may change the device and sees geoData.",
		request: lock, as: admin, status: 200, has: []string{`"locked":true`, `"geoData"`}})
	c.ask(exchange{says: "In another tenant the device does not exist.",
		request: device, as: stranger, status: 404, reason: "not_found"})
}

// issuing makes a shared token over HTTP and returns its ID and value.
func (c *conversation) issuing(admin, analyst string) (id, value string) {
	c.ask(exchange{says: "Whose token does not manage tokens does not see them.",
		request: "GET /v1/tokens", as: analyst, status: 403, reason: "permission", has: []string{`"tokens:manage"`}})
	c.ask(exchange{says: "All that is wrong with a request is named at once.",
		request: "POST /v1/tokens", as: admin,
		body:   `{"kind":"shared","name":" ","expiry":"2001-01-01","networks":["10.0.0.0/8","10.0.0.300"],"permissions":["devices:view","devices:destroy","billing:manage"],"share":101}`,
		status: 422, reason: "invalid",
		has: []string{`"name"`, `"expiry"`, `"networks[1]"`, `"permissions[1]"`, `"permissions[2]"`, `"share"`}, lacks: []string{`"networks[0]"`, `"permissions[0]"`}})
	c.ask(exchange{says: "A misspelt field is not taken for one that was left out.",
		request: "POST /v1/tokens", as: admin, body: `{"kind":"shared","name":"backup","permisions":[]}`, status: 422, reason: "invalid", has: []string{"permisions"}})
	backup := exchange{says: "Issue a shared token. This answer is the only one with its secret.",
		request: "POST /v1/tokens", as: admin, retry: rand.Text(), body: `{"kind":"shared","name":"backup","permissions":["devices:manage"]}`,
		status: 201, has: []string{`"devices:manage"`, `"devices:view"`, `"acme_`}}
	issued := c.ask(backup)
	id, value = issued.Token.ID, issued.Secret
	backup.says, backup.status, backup.reason = "A retry with the same Idempotency-Key makes no second token.", 409, "already_issued"
	backup.has, backup.lacks = []string{id}, []string{value}
	c.ask(backup)
	c.ask(exchange{says: "Managing devices implies viewing them.",
		request: "GET /v1/devices/laptop-7", as: value, status: 200, has: []string{`"locked":true`}})
	return id, value
}

// deploying makes a token of another kind, and returns its value and ID.
func (c *conversation) deploying(admin string) (value, id string) {
	c.ask(exchange{says: "Only a node's token deploys; the refusal says so.",
		request: "POST /v1/nodes", as: admin, status: 403, reason: "kind", has: []string{"use a node token"}})
	node := c.ask(exchange{says: "Issue a node token: it gets the role deploy.",
		request: "POST /v1/tokens", as: admin, body: `{"kind":"node","name":"edge"}`, status: 201, has: []string{`"acme_node_`, `"deploy"`}})
	c.ask(exchange{says: "It deploys.",
		request: "POST /v1/nodes", as: node.Secret, status: 200, has: []string{`"starting"`}})
	c.ask(exchange{says: "It does nothing else.",
		request: "GET /v1/devices/laptop-7", as: node.Secret, status: 403, reason: "permission", has: []string{`"devices:view"`}})
	return node.Secret, node.Token.ID
}

// changing finds, edits, disables, enables and rotates the token, and returns
// its new value.
func (c *conversation) changing(admin, stranger, id, value string) string {
	at := "/v1/tokens/" + id
	c.ask(exchange{says: "The list shows every token of the tenant and no secret.",
		request: "GET /v1/tokens?kind=shared&sort=name", as: admin, status: 200, has: []string{id, `"backup"`, `"dashboard"`, `"uses":1`}, lacks: []string{value, `"edge"`}})
	c.ask(exchange{says: "In another tenant it does not exist.",
		request: "GET " + at, as: stranger, status: 404, reason: "not_found"})
	c.ask(exchange{says: "Edit it, if it is still what was read.",
		request: "PATCH " + at, as: admin, body: `{"name":"night backup","permissions":["devices:view"],"if_version":1}`, status: 200, has: []string{`"night backup"`, `"version":2`}})
	c.ask(exchange{says: "Whoever read it before that is told.",
		request: "PATCH " + at, as: admin, body: `{"name":"day backup","if_version":1}`, status: 409, reason: "version"})
	c.ask(exchange{says: "Find a token by its value, such as one seen in a log.",
		request: "POST /v1/tokens/find", as: admin, body: `{"secret":"` + value + `"}`, status: 200, has: []string{id, `"night backup"`}, lacks: []string{value}})

	c.ask(exchange{says: "Disable it.",
		request: "POST " + at + "/disable", as: admin, body: `{"reason":"seen in a log"}`, status: 200, has: []string{`"disabled"`, `"seen in a log"`}})
	c.ask(exchange{says: "It stops at once.",
		request: "GET /v1/devices/laptop-7", as: value, status: 401, reason: "unauthenticated"})
	c.ask(exchange{says: "Support can ask why.",
		request: "POST /v1/tokens/explain", as: admin, body: `{"id":"` + id + `","permissions":["devices:manage"]}`, status: 200,
		has: []string{`"accepted":false`, `"reason":"disabled"`, `"reason":"permission"`}})
	c.ask(exchange{says: "To enable a token of this kind takes a new expiry.",
		request: "POST " + at + "/enable", as: admin, status: 422, reason: "invalid", has: []string{`"expiry"`}})
	day := time.Now().UTC().AddDate(0, 0, 30).Format(time.DateOnly)
	c.ask(exchange{says: "Enable it with one.",
		request: "POST " + at + "/enable", as: admin, body: `{"expiry":"` + day + `"}`, status: 200, has: []string{`"active"`, day}})

	c.ask(exchange{says: "A rotation must be safe to retry.",
		request: "POST " + at + "/rotate", as: admin, status: 422, reason: "invalid", has: []string{`"if_version"`}})
	fresh := c.ask(exchange{says: "Rotate it: a new value; the old one goes on for a minute.",
		request: "POST " + at + "/rotate", as: admin, body: `{"overlap_seconds":60,"if_version":4}`, status: 200, has: []string{id}, lacks: []string{value}}).Secret
	for _, v := range []string{fresh, value} {
		c.ask(exchange{says: "Both values work meanwhile.",
			request: "GET /v1/devices/laptop-7", as: v, status: 200, has: []string{`"laptop-7"`}})
	}
	return fresh
}

// ending revokes and deletes the token, and revokes the node's.
func (c *conversation) ending(admin, id, value, nodeID string) {
	at := "/v1/tokens/" + id
	c.ask(exchange{says: "Revoke it.",
		request: "POST " + at + "/revoke", as: admin, body: `{"reason":"leaked"}`, status: 204})
	c.ask(exchange{says: "It is over for good: not accepted,",
		request: "GET /v1/devices/laptop-7", as: value, status: 401, reason: "unauthenticated"})
	c.ask(exchange{says: "and not enabled again.",
		request: "POST " + at + "/enable", as: admin, body: `{"expiry":"2099-01-01"}`, status: 409, reason: "state", has: []string{"revoked"}})
	c.ask(exchange{says: "It stays visible,",
		request: "GET " + at, as: admin, status: 200, has: []string{`"revoked"`, `"leaked"`}})
	c.ask(exchange{says: "until it is deleted.",
		request: "DELETE " + at, as: admin, status: 204})
	c.ask(exchange{says: "Then there is nothing to find.",
		request: "GET " + at, as: admin, status: 404, reason: "not_found"})
	c.ask(exchange{says: "Revoke the node's token, too.",
		request: "POST /v1/tokens/" + nodeID + "/revoke", as: admin, body: `{"reason":"the node was sold"}`, status: 204})
}

// afterRestart asks a server that has begun anew with what is in the database.
func (c *conversation) afterRestart(kept keepsakes) {
	c.ask(exchange{says: "The tokens that worked still do.",
		request: "GET /v1/devices/laptop-7", as: kept.reader, status: 200, has: []string{`"laptop-7"`}})
	c.ask(exchange{says: "Their uses were written when the server stopped.",
		request: "GET /v1/tokens/" + kept.readerID, as: kept.admin, status: 200, has: []string{`"uses":5`}})
	c.ask(exchange{says: "What was revoked is still refused,",
		request: "POST /v1/nodes", as: kept.node, status: 401, reason: "unauthenticated"})
	c.ask(exchange{says: "and the reason is still there.",
		request: "GET /v1/tokens/" + kept.nodeID, as: kept.admin, status: 200, has: []string{`"revoked"`, `"the node was sold"`}})
}
