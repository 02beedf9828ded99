package otelapitoken

import (
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/tokenry/apitoken"
)

const (
	keyCall    = attribute.Key("apitoken.call")
	keyOutcome = attribute.Key("apitoken.outcome")
	keyReason  = attribute.Key("apitoken.reason")
	keyPart    = attribute.Key("apitoken.part")
	keyKind    = attribute.Key("apitoken.kind")
	keyScheme  = attribute.Key("apitoken.scheme")
	keyLimit   = attribute.Key("apitoken.limit")
	keyPer     = attribute.Key("apitoken.per")
	keyLocal   = attribute.Key("apitoken.local")
	keyStep    = attribute.Key("apitoken.step")
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
	k.call = knownCall(k.call)
	if k.kind != "" {
		k.kind = other
	}
	if k.scheme != "" {
		k.scheme = other
	}
	if k.part != "" {
		k.part = other
	}
	switch k.reason {
	case "", "unavailable", "unknown": // they tell the outcome
	default:
		k.reason = other
	}
	return k
}

// verification is what the instruments and the span are given.
type verification struct {
	add    []metric.AddOption
	record []metric.RecordOption
	name   string // of the span
	span   trace.SpanStartEventOption
	outage string // what the span's status says; "" = there was an answer
}

func newVerification(k verificationKey) *verification {
	call := knownCall(k.call)
	v := &verification{name: "apitoken." + call}
	outcome := "refused"
	switch k.reason {
	case "":
		outcome = "accepted"
	case "unavailable", "unknown":
		outcome, v.outage = "failed", "no answer"
		if k.part != "" {
			v.outage = text(k.part) + " unavailable"
		}
	}
	attributes := []attribute.KeyValue{keyCall.String(call), keyOutcome.String(outcome)}
	for _, a := range []attribute.KeyValue{
		keyReason.String(text(k.reason)), keyPart.String(text(k.part)),
		keyKind.String(text(string(k.kind))), keyScheme.String(text(string(k.scheme))),
	} {
		if a.Value.AsString() != "" {
			attributes = append(attributes, a)
		}
	}
	set := metric.WithAttributeSet(attribute.NewSet(attributes...))
	v.add, v.record = []metric.AddOption{set}, []metric.RecordOption{set}
	v.span = trace.WithAttributes(attributes...)
	return v
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

func newDecision(k decisionKey) []metric.AddOption {
	outcome := "refused"
	if k.allowed {
		outcome = "allowed"
	}
	per := string(k.per)
	if k.per == apitoken.PerToken {
		per = "token"
	}
	return addOptions(keyLimit.String(text(k.limit)), keyPer.String(text(per)), keyOutcome.String(outcome), keyLocal.Bool(k.local))
}

func newFailure(call string) []metric.AddOption { return addOptions(keyCall.String(text(call))) }

func newSweep(completed bool) []metric.RecordOption {
	outcome := "failed"
	if completed {
		outcome = "completed"
	}
	return []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(keyOutcome.String(outcome)))}
}

func addOptions(attributes ...attribute.KeyValue) []metric.AddOption {
	return []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(attributes...))}
}

// knownCall is call if it is one of those that a Service makes: it names spans.
func knownCall(call string) string {
	switch call {
	case "verify", "admit", "recheck":
		return call
	}
	return other
}

// text is s as exporters take it: valid UTF-8, of at most 100 bytes.
func text(s string) string {
	if len(s) > 100 {
		return other
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
