package apitoken

import "time"

// Principal is who a verified request acts for. Only a [Verifier] makes one;
// the zero Principal has no rights.
type Principal struct {
	Token  ID
	Tenant string
	Owner  string // the user the request acts on behalf of (S1.3); "" for tokens of a tenant or an agent
	Agent  string // the agent, for an agent's token
	Kind   Kind
	Scheme Scheme

	permissions Permissions
	rec         *Record
	replaced    bool // let in by the value before the last rotation, within its overlap
}

// Scheme is how a credential was presented.
type Scheme string

// The schemes.
const (
	SchemeBearer Scheme = "bearer" // a token string
	SchemeLegacy Scheme = "legacy" // an ID and secret of an older kind

	SchemeJWS           Scheme = "jws"            // a request inside a JWS, posted to one path: package httpauth
	SchemeJWT           Scheme = "jwt"            // a JWT bound to one request: package httpauth
	SchemeHTTPSignature Scheme = "http-signature" // HTTP Message Signatures (RFC 9421): package httpsig
)

// signs reports whether requests of the scheme are signed.
func (s Scheme) signs() bool {
	return s == SchemeJWS || s == SchemeJWT || s == SchemeHTTPSignature
}

// Permissions returns what the token may do in this request: its grant, cut by
// all that stands above it.
func (p Principal) Permissions() Permissions { return p.permissions }

// Can reports whether the principal has the named permission.
func (p Principal) Can(permission string) bool { return p.permissions.Has(permission) }

// Check returns nil if the principal satisfies the requirement, else a
// [PermissionError].
func (p Principal) Check(need Requirement) error {
	resources := p.Resources()
	return need.check(&p.permissions, &resources)
}

// Shows reports whether a returned field of need may be shown to the principal
// (S2.8).
func (p Principal) Shows(need Requirement, field string) bool {
	return need.FieldAllowed(p.permissions, field)
}

// Resources returns the resource groups the token may touch (S2.3). Do not
// change them.
func (p Principal) Resources() Resources {
	if p.rec == nil {
		return Resources{}
	}
	return p.rec.Token.Resources
}

// Metadata returns the value of a pair of the token's metadata, "" = none.
func (p Principal) Metadata(key string) string {
	if p.rec == nil {
		return ""
	}
	return p.rec.Token.Metadata[key]
}

// Name returns the token's name.
func (p Principal) Name() string {
	if p.rec == nil {
		return ""
	}
	return p.rec.Token.Name
}

// Share returns the percentage of each rate limit that the token has.
func (p Principal) Share() int {
	if p.rec == nil {
		return 0
	}
	return p.rec.Token.Share
}

// ExpiresAt returns when the token expires, zero = never.
func (p Principal) ExpiresAt() time.Time {
	if p.rec == nil {
		return time.Time{}
	}
	return p.rec.Token.ExpiresAt
}

// Actor returns the principal as the actor of managing calls, for APIs that let
// a token manage tokens: the token's owner, with no more permissions and resource
// groups than this request has. It acts with the owner's roles, as the host
// knows them, only if it has all that the owner has: a token that only reads
// must not manage tokens. One without an owner acts as itself, without roles.
// Events name the token beside the owner ([Event].Via). What it issues may outlive
// it.
func (p Principal) Actor() Actor {
	resources := p.Resources()
	a := Actor{ID: p.Owner, Tenant: p.Tenant, Permissions: p.permissions.Names(), ceiling: &p.permissions, resources: &resources, token: p.Token, principal: &p}
	if a.Permissions == nil {
		a.Permissions = []string{}
	}
	if a.ID == "" {
		a.ID, a.impersonal = "token:"+string(p.Token), true
	}
	return a
}
