// Package httpauth is net/http middleware over an [apitoken.Verifier]: it reads
// the one credential of a request, has it verified, and gives the handler an
// [apitoken.Principal], or the client an answer that tells it no more than it may
// know.
//
//	auth := httpauth.New(tokens, httpauth.Options{})
//	mux.Handle("GET /api/me", auth.Middleware(me))
//
// Every layer has the one shape func(http.Handler) http.Handler and they nest in
// any order. The outermost layer that a request meets verifies it; the layers
// inside of it only add what they ask for, so a request is verified, and counted
// as a use, once. Layers of two Auths know nothing of each other: each verifies,
// and counts.
//
// # What is read
//
// Credentials come from headers, never from the URL or a cookie, and from a body only
// where [Auth.Tunnel] stands: 'Authorization: Bearer' and 'Authorization: SSWS' (S1.2),
// the headers named in [Options].Headers (S3.19), the pair of headers for an ID and
// secret of an older kind (S3.17), and the signatures that [Options].Proofs read. A
// request has exactly one. Two, an empty one, or half of a pair is a 400, whatever the
// rest is worth, because two parties that read such a request may each believe another
// credential. An Authorization header of a scheme that is not ours, such as Basic, is
// no credential (RFC 6750, section 3.1), but beside one of ours it makes two.
//
// # What is answered
//
//	400  two credentials, one that cannot be read, or a signed body that breaks off
//	401  no credential, or one that is not accepted; all of these look alike
//	403  a permission, the origin, the client's address, the kind of the token
//	404, 409, 422  from managing calls, through WriteError
//	405, 413  another method than POST at a tunnel; a signed body that is too long
//	429  a rate limit, a quota, or too many failed attempts, with Retry-After
//	503  a part that must answer did not, with Retry-After
//	500  any other error; nothing of it is shown
//
// Bodies are problem details (RFC 9457, application/problem+json). Their type is
// about:blank, except for rate limits and quotas, which have the type and the header fields
// of draft-ietf-httpapi-ratelimit-headers-11. They have these members besides:
// 'reason', a word of [apitoken.ReasonOf], the same for every 401 unless
// [Options].TellHolder is set, and 'internal' for a 500; 'missing' and 'groups' for
// a permission; 'kinds' for a kind; 'errors', a list of field and problem, for
// invalid requests; 'violated-policies' for a limit or quota. Nothing that is refused
// may be cached.
//
// # Signed requests
//
// A client that signs sends no secret along, and what is read on the way is of no use
// to anybody: [NewBoundJWT] is for a JWT in each request, [Auth.Tunnel] for requests
// inside a JWS, and module httpsig for HTTP Message Signatures (RFC 9421). Tokens are
// used so if their apitoken.Policy names the scheme. All are checked by
// apitoken.Service.Verify, in one order, and each is accepted once. docs/signing.md
// has what clients send.
//
// # Leaked tokens
//
// [Alerts] is a handler of its own, beside these layers: it takes the signed alerts
// of a secret scanning partner and has the tokens revoked that were found.
//
// # What the host must do
//
//  1. Serve over TLS. A bearer token read on the way is a token stolen.
//  2. Behind a proxy or balancer, set [Options].TrustedProxies. Without it every
//     client has the proxy's address: address lists of tokens then refuse
//     everybody, and the limiter of failed attempts counts all clients as one.
//  3. Let nothing rewrite http.Request.RemoteAddr. Middleware that fills it from a
//     header lets clients choose their address.
//  4. Answer CORS preflights outside of these layers: browsers send them without a
//     credential. The trusted origins of apitoken refuse a call, they emit no CORS
//     headers.
//  5. Give the context of a verified request to no request that acts for somebody
//     else: what is verified stays verified wherever the context goes.
//  6. Ask apitoken.Service.Recheck now and then on connections that outlive their
//     request, such as WebSockets: these layers see the request that opened them.
package httpauth
