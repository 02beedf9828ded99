package redisstore

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash"
	"strings"

	"github.com/tokenry/apitoken"
)

// digestSize is how much of a digest is in a key: two of a billion buckets share one
// with a probability of 1 to 10^20.
const digestSize = 16

// naming makes the names of keys.
type naming struct {
	prefix string
	secret []byte
}

func newNaming(prefix string, secret []byte) (naming, error) {
	if prefix == "" {
		prefix = "apitoken:"
	}
	if strings.ContainsAny(prefix, "{}") {
		return naming{}, errors.New("redisstore: Prefix has a brace, which Redis Cluster would take for a hash tag: leave it out")
	}
	return naming{prefix: prefix, secret: append([]byte(nil), secret...)}, nil
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
	h := n.hash("replay")
	h.Write(key[:])
	return n.prefix + "replay:" + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// digest has the length of each part before it, so that no two lists of parts are
// one.
func (n naming) digest(label string, parts ...string) string {
	h := n.hash(label)
	for _, part := range parts {
		write(h, part)
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:digestSize])
}

func (n naming) hash(label string) hash.Hash {
	h := hmac.New(sha256.New, n.secret)
	write(h, "apitoken:redis:v1:"+label)
	return h
}

func write(h hash.Hash, part string) {
	var length [4]byte
	binary.BigEndian.PutUint32(length[:], uint32(len(part)))
	h.Write(length[:])
	h.Write([]byte(part))
}
