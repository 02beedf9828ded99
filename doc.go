// Package apitoken issues, verifies, scopes, rotates, disables, expires and
// revokes API tokens inside an existing Go server.
//
// # Model
//
// A [Service] is the engine, over a [Store] that keeps the tokens. What a token
// is subject to is the [Policy] of its [Kind]: whose it is, who may issue it, what
// it may do over time, how long it lives, what happens when its owner leaves. The
// zero Policy is a plain API token; the presets carry three families of rules:
//
//   - sliding: the owner's permissions, live; alive as long as it is used
//     ([SlidingPolicy], [AgentPolicy]);
//   - fixed-term: permissions frozen at issue, an expiry date ([FixedTermPolicy]);
//   - switchable: personal and shared tokens that are disabled and enabled, node
//     tokens, and credentials of an older kind ([PersonalPolicy], [SharedPolicy],
//     [NodePolicy], [LegacyPolicy]).
//
// Managing calls ([Service.Issue], [Service.Edit], [Service.Revoke] and so on)
// take an [Actor]: who calls, in which tenant. Tokens of other tenants are not
// found. [Service.Verify] takes what a request presents and returns a
// [Principal]: whom the request acts for and what it may do. Package httpauth
// does that for net/http.
//
// A token is sent along as it is, or it signs each request and is never sent: with
// a key pair of its holder's ([IssueRequest].PublicKey) or a secret key that is
// generated here ([IssueRequest].Symmetric). [Policy].Schemes says how tokens of a
// kind may be used; what carries a signature is a [Proof].
//
// What the host knows about its own users is asked through small interfaces,
// [Owners], [Agents], [Admins] and [Entitlements]; each is optional, and asked for
// by the policies that need it.
//
// # The life of a token
//
// Issue makes an active token and shows its secret, if it has one, once. From then on:
//
//	active ──Disable──▶ disabled ──Enable──▶ active
//	active ──expiry───▶ expired (locked), or disabled with cause 'expired'
//	active ──idle─────▶ revoked
//	any    ──Revoke───▶ revoked, for good
//	any    ──Delete───▶ gone; its events stay
//	disabled ──a week, where the policy says so──▶ gone
//	expired  ──later, where the policy says so───▶ gone
//
// Before an expiry its holders are told, as the policy says.
//
// What is due by the clock counts from its instant on, for Verify and for every
// managing call, whether or not [Service.Sweep] has written it yet. Each change is
// one guarded write together with its audit [Event]; nothing brings a revoked
// token back.
//
// # Permissions
//
// A [Catalog] names the permissions and roles there are. A token's effective
// permissions are worked out at each request: its [Grant], cut by its kind's
// ceiling, by what tokens may carry at all, by its owner's present permissions
// where the policy says so, and by the tenant's licences. A [Requirement] says
// what an action needs, and is checked against a token's permissions and a
// person's alike. Choose the least that a use needs (least privilege): a token
// that only reads should not be able to write.
//
// # Rules for hosts
//
//  1. You must serve the API over TLS only. A bearer token works for whoever
//     reads it; a signed request can be read, and its answer is not signed.
//  2. You must show a secret once, to its holder, with caching forbidden
//     (httpauth.WriteSecret), and keep it nowhere. Treat it like a password: never
//     log, print or list it. Tell holders to keep it safe and share it with
//     nobody.
//  3. You must fill [Actor] from your own session and never from what the request
//     claims.
//  4. You must call [Service.Run] in each process, or [Service.Flush] and
//     [Service.Sweep] yourself. Verification is right without it, but uses stay in
//     memory, where quotas end with the process; a sliding token's life is not extended
//     on other nodes, and nothing is deleted. [Service.Status] tells when nobody called Run.
//  5. You must tell httpauth which proxies to trust before you rely on address
//     lists.
//  6. You should keep the clocks of all nodes together (NTP), within
//     [Options].ClockSkew.
//  7. You should set [Options].Prefix to your product's name, register it with the
//     secret scanners your customers use, and take their alerts (httpauth.Alerts).
//  8. You should issue tokens for automation from a service account that is never
//     deactivated and whose permissions never change: a token stops working when
//     its owner does, where the policy follows the owner.
//  9. You should show [ReasonOf] and [Service.Explain] to your support staff, and
//     never to the client: from outside all refused credentials look alike.
//  10. You should give each use its own token, with an expiry, and revoke at once
//     what may have leaked.
//  11. You must report changes of users and agents ([Service.OwnerChanged],
//     [Service.AgentChanged]) where a policy goes by them, right after they are in
//     effect. Verification follows your directory without that; but only then is a
//     leaver's token disabled for good, and only then does an agent get its token.
//  12. You must give all nodes the same [Options].Keyring and a [ReplayGuard] that
//     they share, where tokens sign. Keep the sealing keys apart from the database
//     and its backups, and an old one until [Service.Rewrap] is through.
//
// # Errors
//
// Every error wraps exactly one family: [ErrUnauthenticated], [ErrForbidden],
// [ErrRateLimited], [ErrUnavailable], [ErrInvalid], [ErrConflict] or
// [ErrNotFound]. A part that fails (the store, a look-up of the host's, the
// limiter) refuses with ErrUnavailable; it never lets anyone in, and it is never
// mistaken for 'no such token'.
package apitoken
