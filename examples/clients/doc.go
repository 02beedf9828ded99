// Package clients has programs in other languages that sign requests: see README.md.
// Its tests run each of them against the server of examples/signed.
package clients
