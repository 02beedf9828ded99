package promapitoken

import (
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokenry/apitoken"
)

// steps are those of [apitoken.Swept], in the order in which onSwept counts them.
var steps = [...]string{"noticed", "ended", "expired", "revoked", "purged", "held", "conflicts", "failed"}

// verificationKey is all that tells verifications apart.
type verificationKey struct {
	call, reason, part string
	kind               apitoken.Kind
	scheme             apitoken.Scheme
}

// rest is what k is counted as once there is no room for more.
func (k verificationKey) rest() verificationKey {
	if k.kind != "" {
		k.kind = other
	}
	if k.scheme != "" {
		k.scheme = other
	}
	if k.part != "" {
		k.part = other
	}
	switch k.call {
	case "verify", "admit", "recheck":
	default:
		k.call = other
	}
	switch k.reason {
	case "", "unavailable", "unknown": // they tell the outcome
	default:
		k.reason = other
	}
	return k
}

// verification is where verifications that are alike are counted.
type verification struct {
	count prometheus.Counter
	took  prometheus.Observer
}

func (r *recorder) newVerification(k verificationKey) verification {
	outcome := "refused"
	switch k.reason {
	case "":
		outcome = "accepted"
	case "unavailable", "unknown":
		outcome = "failed"
	}
	call, kind, scheme := text(k.call), text(string(k.kind)), text(string(k.scheme))
	return verification{
		count: r.verified.WithLabelValues(call, outcome, text(k.reason), text(k.part), kind, scheme),
		took:  r.took.WithLabelValues(call, outcome, kind, scheme),
	}
}

// decisionKey is all that tells decisions of limits apart.
type decisionKey struct {
	limit          string
	per            apitoken.Per
	allowed, local bool
}

func (k decisionKey) rest() decisionKey {
	k.limit, k.per = other, other
	return k
}

func (r *recorder) newDecision(k decisionKey) prometheus.Counter {
	outcome := "refused"
	if k.allowed {
		outcome = "allowed"
	}
	per := string(k.per)
	if k.per == apitoken.PerToken {
		per = "token"
	}
	return r.decided.WithLabelValues(text(k.limit), text(per), outcome, strconv.FormatBool(k.local))
}

func (r *recorder) newFailure(call string) prometheus.Counter {
	return r.failed.WithLabelValues(text(call))
}

// text is s as a label takes it, which panics on others: valid UTF-8, of at most 100
// bytes.
func text(s string) string {
	if len(s) > 100 {
		return other
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
