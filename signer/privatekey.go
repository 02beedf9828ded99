package signer

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"

	"github.com/tokenry/apitoken"
)

const (
	maxKeyFile = 16 << 10 // bytes

	wantedKey  = ": give privateKey.pem, an EC key on P-256 (prime256v1)"
	convertKey = "openssl pkcs8 -topk8 -nocrypt -in FILE -out privateKey.pem"
)

// ParsePrivateKey reads an ECDSA key on P-256 from PEM: privateKey.pem (PKCS#8) or
// ec256-key-pair.pem (SEC 1, with or without the block EC PARAMETERS before it), as
// the openssl commands of S2.13 make them. There is one key, and nothing but white
// space around it.
//
// Errors are of [apitoken.ErrInvalid], a [apitoken.FieldError] for private_key. They
// say what was given instead, and repeat nothing of it.
func ParsePrivateKey(text []byte) (crypto.Signer, error) {
	if len(text) > maxKeyFile {
		return nil, badKey("is longer than any key: give privateKey.pem")
	}
	block, problem := onlyKey(bytes.TrimPrefix(text, []byte("\ufeff")))
	if problem != "" {
		return nil, badKey(problem)
	}
	if len(block.Headers) > 0 { // Proc-Type: 4,ENCRYPTED (RFC 1421)
		return nil, badKey("is encrypted: decrypt it with " + convertKey)
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, badKey(otherBlocks[block.Type])
	}
	if err != nil {
		return nil, badKey(unreadable(block.Bytes) + wantedKey)
	}
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, badKey("is " + nameOf(key) + wantedKey)
	}
	if private.Curve != elliptic.P256() {
		return nil, badKey("is an EC key on " + private.Curve.Params().Name + wantedKey)
	}
	return private, nil
}

func badKey(problem string) error {
	return &apitoken.FieldError{Field: "private_key", Problem: problem}
}

// otherBlocks are what is often given instead of a private key.
var otherBlocks = map[string]string{
	"ENCRYPTED PRIVATE KEY": "is encrypted: decrypt it with " + convertKey,
	"OPENSSH PRIVATE KEY":   "is in the form of OpenSSH: convert a copy of it with ssh-keygen -p -m PKCS8 -f FILE, if it is on P-256",
	"RSA PRIVATE KEY":       "is an RSA key" + wantedKey,
	"DSA PRIVATE KEY":       "is a DSA key" + wantedKey,
	"PUBLIC KEY":            "is a public key, which is for the service" + wantedKey,
	"EC PARAMETERS":         "has the parameters of a curve and no key" + wantedKey,
	"CERTIFICATE":           "is a certificate" + wantedKey,
	"CERTIFICATE REQUEST":   "is a certificate request" + wantedKey,
}

// onlyKey returns the one key in text. Before it there may be the EC PARAMETERS that
// openssl ecparam -genkey writes.
func onlyKey(text []byte) (block *pem.Block, problem string) {
	text = bytes.TrimSpace(text)
	const begin = "-----BEGIN "
	if !bytes.HasPrefix(text, []byte(begin)) {
		return nil, "is no PEM file, which begins with a line of BEGIN PRIVATE KEY" + wantedKey
	}
	blocks := bytes.Count(text, []byte(begin)) // pem.Decode passes over what it cannot read
	block, rest := pem.Decode(text)
	if block != nil && block.Type == "EC PARAMETERS" && blocks == 2 {
		blocks = 1
		rest = bytes.TrimSpace(rest)
		if !bytes.HasPrefix(rest, []byte(begin+"EC PRIVATE KEY-----")) {
			return nil, "has something else than a key after EC PARAMETERS: give privateKey.pem"
		}
		block, rest = pem.Decode(rest)
	}
	switch {
	case block == nil:
		return nil, "is damaged or cut off: give privateKey.pem as openssl wrote it"
	case blocks > 1 || len(bytes.TrimSpace(rest)) > 0:
		return nil, "has something after the key: give a file with one key and nothing else"
	case block.Type == "PRIVATE KEY" || block.Type == "EC PRIVATE KEY" || otherBlocks[block.Type] != "":
		return block, ""
	}
	return nil, "is a PEM file of another kind" + wantedKey
}

// oids are of what x509 does not read, as DER, or not in FIPS mode.
var oids = map[string]string{
	"\x06\x05\x2b\x81\x04\x00\x0a":                 "an EC key on secp256k1",
	"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x01":     "an EC key on P-192",
	"\x06\x09\x2b\x24\x03\x03\x02\x08\x01\x01\x07": "an EC key on brainpoolP256r1",
	"\x06\x03\x2b\x65\x71":                         "an Ed448 key",
	"\x06\x03\x2b\x65\x6e":                         "an X25519 key",
	"\x06\x03\x2b\x65\x6f":                         "an X448 key",
	"\x06\x07\x2a\x86\x48\xce\x38\x04\x01":         "a DSA key",
	"\x06\x07\x2a\x86\x48\xce\x3d\x01\x01":         "an EC key that spells out the parameters of its curve",
}

// unreadable says why x509 did not take a key. It is for people: an accident that
// looks like an OID does no harm.
func unreadable(der []byte) string {
	for oid, name := range oids {
		if bytes.Contains(der, []byte(oid)) {
			return "is " + name
		}
	}
	return "is damaged, or a key of another algorithm or curve"
}

func nameOf(key any) string {
	switch key.(type) {
	case *rsa.PrivateKey:
		return "an RSA key"
	case ed25519.PrivateKey:
		return "an Ed25519 key"
	case *ecdh.PrivateKey:
		return "an X25519 key"
	}
	return "a key of another algorithm"
}
