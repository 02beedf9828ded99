// Package conformance runs published test vectors against the library: those of
// Project Wycheproof (github.com/c2sp/wycheproof) for P-256 keys, ECDSA, HMAC and
// JWS. It has tests only, and is a module of its own because nobody else needs the
// vectors. What is left out is listed beside each test, with the reason.
package conformance
