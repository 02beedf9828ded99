// Package webhooknotify is an [apitoken.Notifier] that posts each event to the
// endpoints that the host names for the event's tenant, signed after Standard
// Webhooks 1.0.0 (github.com/standard-webhooks/standard-webhooks).
//
//	hooks, err := webhooknotify.New(webhooknotify.Options{Endpoints: endpoints})
//	tokens, err := apitoken.New(store, apitoken.Options{Notifier: hooks})
//
// # What is sent
//
// A POST with Content-Type application/json and three header fields:
//
//	webhook-id         the same each time an event is sent: the idempotency key
//	webhook-timestamp  when it is sent, in seconds since 1970
//	webhook-signature  v1,<base64 of HMAC-SHA256> for each secret, the current first
//
// The signed text is webhook-id, webhook-timestamp and the body, joined by full
// stops. The body is a [Payload]:
//
//	{"type": "token.revoked",
//	 "timestamp": "2027-03-01T12:00:00.000001Z",
//	 "data": {
//	   "id": "4fQx….3.0", "type": "token.revoked", "message": "API Token revoked",
//	   "category": "token lifecycle", "time": "2027-03-01T12:00:00.000001Z",
//	   "tenant": "acme", "actor": {"type": "user", "id": "ann"},
//	   "target": {"token": "4fQx…", "name": "ci", "kind": "personal",
//	              "owner": {"type": "user", "id": "bob"}},
//	   "version": 3, "ordinal": 0, "cause": "by_hand", "reason": "left",
//	   "creator": "bob"}}
//
// data is the [apitoken.Event], as History returns it, with these besides where
// they are known: due_at, via, changed, expires_at, request_id, address (of who
// did it). Members are added in later versions, and none is renamed, removed or
// given another type; receivers must ignore those they do not know. There is no
// secret in it, but there are names and addresses of a tenant's people: send it
// to that tenant's endpoints only, or to your own.
//
// # What is not called
//
// Endpoints are often what customers type. So a name is resolved first, and the
// connection is refused if it would go to an address that is not a public one:
// private, loopback, link-local, shared (RFC 6598), multicast, unspecified,
// reserved, or an IPv6 address that carries an IPv4 address (of NAT64's, those
// that carry a public one are taken). It is the address of the connection itself
// that is checked, so a name that resolves to another one the next time wins
// nothing. URLs have to be https, without a user name;
// redirects are not followed, no proxy is used unless [Options].Proxy says so, no
// cookies are kept, and of the answer only the status is looked at.
//
// The Insecure and Dangerously fields of [Options] open these for tests and
// networks of the host's own.
//
// # What comes back
//
// Status 200 to 299 is success. Anything else is an error, and the outbox sends
// the event again, later and later, and sets it aside in the end. 410 Gone is
// what [Options].Gone is for. An endpoint that has had an event does not get it
// again because another one failed, as long as the process remembers (10,000
// events and endpoints); after that, and after a restart, it may: delivery is at
// least once, and a receiver that keeps the webhook-id of the last hours does
// nothing twice.
//
// Deliver hands out one event after the other, so an endpoint that is slow to
// answer delays the others, by at most [Options].Timeout for each event.
package webhooknotify
