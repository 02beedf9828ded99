package webhooknotify

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/tokenry/apitoken"
)

const secretPrefix = "whsec_"

// The sizes of a secret that Standard Webhooks allows, in bytes.
const (
	minSecret = 24
	maxSecret = 64
)

// NewSecret returns a new random secret for an [Endpoint]: "whsec_" and the
// base64 of 32 bytes, as the libraries for receivers expect it. Show it to who
// runs the endpoint, and keep it encrypted: it is needed for each event.
func NewSecret() apitoken.Secret {
	key := make([]byte, 32)
	rand.Read(key) // never fails: crypto/rand ends the program instead
	return apitoken.NewSecret(secretPrefix + base64.StdEncoding.EncodeToString(key))
}

// parseSecret returns the key in s, or what is wrong, which never repeats it.
func parseSecret(s apitoken.Secret) (key []byte, problem string) {
	text, ok := strings.CutPrefix(s.Reveal(), secretPrefix)
	if !ok {
		return nil, "does not begin with " + secretPrefix
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, "is not base64 after " + secretPrefix
	}
	if len(key) < minSecret || len(key) > maxSecret {
		return nil, fmt.Sprintf("has %d bytes: %d to %d are asked for", len(key), minSecret, maxSecret)
	}
	return key, ""
}

// sign returns the value of webhook-signature: one signature for each key.
func sign(keys [][]byte, id string, at int64, body []byte) string {
	signatures := make([]string, 0, len(keys))
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%d.", id, at)
		mac.Write(body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(signatures, " ")
}

// messageID is the event's ID in a form that the signed text can hold: an event's
// own has full stops, which separate the parts there, and a tenant's name.
func messageID(event string) string {
	sum := sha256.Sum256([]byte(event))
	return "evt_" + hex.EncodeToString(sum[:16])
}
