// Package httpsig is for requests signed with HTTP Message Signatures (RFC 9421), and
// bodies bound to them by Content-Digest (RFC 9530): [Reader] is the server's side,
// for package httpauth, [Transport] the client's.
//
//	auth := httpauth.New(tokens, httpauth.Options{Proofs: []httpauth.ProofReader{
//		httpsig.New(httpsig.Options{Hosts: []string{"api.example.com"}}),
//	}})
//
// Tokens are used this way if their policy has apitoken.SchemeHTTPSignature. Keys and
// algorithm are those of the token's record; the signature, its time and its nonce are
// checked where those of all schemes are, in apitoken.Service.Verify.
//
// # What a client sends
//
// The key ID is the token's ID. Algorithms are ecdsa-p256-sha256 with an uploaded key
// and hmac-sha256, whose key is the secret's text as it was shown.
//
//	POST /devices?dry=1 HTTP/1.1
//	Host: api.example.com
//	Content-Type: application/json
//	Content-Digest: sha-256=:…:
//	Signature-Input: sig1=("@method" "@target-uri" "content-digest" "content-type");created=1803902400;keyid="…";nonce="…"
//	Signature: sig1=:…:
//
// The signature covers at least
//
//   - @method;
//   - @target-uri, or @authority with both @path and @query, or @authority with
//     @request-target;
//   - with a body, content-digest and content-type;
//   - what [Options].Covered names.
//
// Its parameters: created and nonce (at most 256 bytes, another for each request) are
// required, expires, alg and tag may be there; others are refused. Components are the
// derived ones above, @scheme, and fields of the request; none has parameters. Labels
// are free; a request has at most 4, and one is for this server: see [Options].Tag and
// [Options].Label.
//
// # What is compared
//
// Components are made of the request as it was received: path and query of the request
// line byte by byte, so that /a, /a/, /a%2Fb and //a differ, and of the host in lower
// case without the default port, which must be one of [Options].Hosts. A body is read
// after the signature was found good, and the handler reads it again.
//
// # What the host must do
//
//  1. Behind a proxy that ends TLS write Hosts with their scheme, or set
//     [Options].ExternalURL. A proxy that rewrites paths, queries or covered fields
//     breaks signatures.
//  2. Put no handler before this one that changes the method, the Host or a covered
//     field of a request. Changing req.URL, as http.StripPrefix does, does no harm.
//  3. Give several nodes one replay guard: see apitoken.Options.
package httpsig
