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
const digestSize = 16

// naming makes the names of keys.
type naming struct {
	prefix string
	hashes *sync.Pool // of hash.Hash: to key one takes longer than to use it
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
	hashes := &sync.Pool{New: func() any {
		if len(secret) == 0 {
			return sha256.New() // FIPS 140 has no HMAC without a key
		}
		return hmac.New(sha256.New, secret)
	}}
	return naming{prefix: prefix, hashes: hashes}, nil
}

// bucket returns the key of a bucket and its hash tag. All buckets of a tenant have
// one tag, so that one script can decide on them.
func (n naming) bucket(key apitoken.LimitKey) (name, tag string) {
	bucket := n.digest("bucket", key.Name, string(key.Per), key.Tenant, key.ID)
	tag = bucket
	if key.Tenant != "" {
		tag = n.digest("tenant", key.Tenant)
	}
	return n.prefix + "{" + tag + "}" + bucket, tag
}

// replay returns the key of a signature.
func (n naming) replay(key [sha256.Size]byte) string {
	return n.prefix + "replay:" + n.sum(sha256.Size, "replay", string(key[:]))
}

func (n naming) digest(label string, parts ...string) string {
	return n.sum(digestSize, label, parts...)
}

// sum has the length of each part before it, so that no two lists of parts are one.
func (n naming) sum(size int, label string, parts ...string) string {
	text := make([]byte, 0, 256)
	text = append(text, "apitoken:redis:v1:"...)
	text = append(text, label...)
	for _, part := range parts {
		text = binary.BigEndian.AppendUint32(text, uint32(len(part)))
		text = append(text, part...)
	}
	h := n.hashes.Get().(hash.Hash)
	defer n.hashes.Put(h)
	h.Reset()
	h.Write(text)
	var sum [sha256.Size]byte
	return base64.RawURLEncoding.EncodeToString(h.Sum(sum[:0])[:size])
}
