package redisstore

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash"
	"strings"
	"sync"

	"github.com/tokenry/apitoken"
)

// digestSize is how much of a digest is in a key: two of a billion buckets share one
// with a probability of 1 to 10^20.
const (
	digestSize  = 16
	encodedSize = 22
)

// naming makes the names of keys.
type naming struct {
	prefix  string
	digests *sync.Pool // of *digest
}

// digest is a hash with the room that it needs. It is used again: to key a hash takes
// longer than to use it.
type digest struct {
	hash hash.Hash
	text []byte
	sum  []byte
	name []byte

	tenant string // the last one, and its digest: many programs have but one
	tag    [encodedSize]byte
}

func newNaming(prefix string, secret []byte) (naming, error) {
	if prefix == "" {
		prefix = "apitoken:"
	}
	if strings.ContainsAny(prefix, "{}") {
		return naming{}, errors.New("redisstore: Prefix has a brace, which Redis Cluster would take for a hash tag: leave it out")
	}
	if len(secret) > 0 && len(secret) < 16 {
		return naming{}, errors.New("redisstore: KeySecret has fewer than 16 bytes: give random ones, or nil for none")
	}
	secret = bytes.Clone(secret)
	digests := &sync.Pool{New: func() any {
		d := &digest{hash: sha256.New()} // FIPS 140 has no HMAC without a key
		if len(secret) > 0 {
			d.hash = hmac.New(sha256.New, secret)
		}
		return d
	}}
	return naming{prefix: prefix, digests: digests}, nil
}

// bucket returns the key of a bucket and its hash tag. All buckets of a tenant have
// one tag, so that one script can decide on them.
func (n naming) bucket(key apitoken.LimitKey) (name, tag string) {
	d := n.digests.Get().(*digest)
	defer n.digests.Put(d)
	start := len(n.prefix) + 1
	d.name = append(append(d.name[:0], n.prefix...), '{')
	switch {
	case key.Tenant == "":
		d.add(digestSize, "bucket", key.Name, string(key.Per), key.Tenant, key.ID)
	case key.Tenant == d.tenant:
		d.name = append(d.name, d.tag[:]...)
	default:
		d.add(digestSize, "tenant", key.Tenant)
		d.tenant, d.tag = strings.Clone(key.Tenant), [encodedSize]byte(d.name[start:])
	}
	d.name = append(d.name, '}')
	d.add(digestSize, "bucket", key.Name, string(key.Per), key.Tenant, key.ID)
	name = string(d.name)
	return name, name[start : start+encodedSize]
}

// replay returns the key of a signature.
func (n naming) replay(key [sha256.Size]byte) string {
	d := n.digests.Get().(*digest)
	defer n.digests.Put(d)
	d.name = append(append(d.name[:0], n.prefix...), "replay:"...)
	d.add(sha256.Size, "replay", string(key[:]))
	return string(d.name)
}

// add puts the first bytes of a digest at the end of the name. What is digested has the
// length of each part before it, so that no two lists of parts are one.
func (d *digest) add(size int, label string, parts ...string) {
	d.text = append(append(d.text[:0], "apitoken:redis:v1:"...), label...)
	for _, part := range parts {
		d.text = binary.BigEndian.AppendUint32(d.text, uint32(len(part)))
		d.text = append(d.text, part...)
	}
	d.hash.Reset()
	d.hash.Write(d.text)
	d.sum = d.hash.Sum(d.sum[:0])
	d.name = base64.RawURLEncoding.AppendEncode(d.name, d.sum[:size])
}
