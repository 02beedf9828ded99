// Package otelapitoken tells OpenTelemetry what an [apitoken.Service] does, as
// metrics and as spans.
//
//	observer, err := otelapitoken.New(otelapitoken.Options{})
//	tokens, err := apitoken.New(store, apitoken.Options{Observer: observer, …})
//
// # Metrics
//
//	apitoken.verifications          counter    apitoken.call, .outcome, .reason, .part, .kind, .scheme
//	apitoken.verification.duration  histogram  the same, in seconds
//	apitoken.limit.decisions        counter    apitoken.limit, .per, .outcome, .local
//	apitoken.store.failures         counter    apitoken.call
//	apitoken.sweep.steps            counter    apitoken.step
//	apitoken.sweep.duration         histogram  apitoken.outcome, in seconds
//
// An attribute that would be empty is left out; a view of the SDK can leave out more.
//   - apitoken.call is "verify", "admit" or "recheck"; of a store failure, the method
//     of the store.
//   - apitoken.outcome of a verification is "accepted", "refused" (the answer is no;
//     apitoken.reason says why) or "failed" (there is no answer, because a part did
//     not give its own; apitoken.part says which). A client that went away while a
//     part was asked counts as failed too. Of a limit it is "allowed" or "refused",
//     of a sweep "completed" or "failed".
//   - apitoken.per is "token", "owner", "tenant" or "key".
//   - apitoken.local is true where a shared limiter could not be reached.
//   - apitoken.step is "noticed", "ended", "expired", "revoked", "purged", "held",
//     "conflicts" or "failed": see [apitoken.Swept].
//
// # Spans
//
// Each Verify, Admit and Recheck is a span: "apitoken.verify", "apitoken.admit",
// "apitoken.recheck", below the one that the call's context carries, with the
// attributes above. Its times are the Service's clock's. Its status is an error for a
// failure and unset for a refusal, which is an answer like another.
//
// # Bounds
//
// No attribute holds a secret, an ID, an error's text or anything that a client made
// up. What the attributes can be comes from the configuration and from fixed sets;
// should a host name kinds or limits at will all the same, the first 1,000
// combinations of each instrument are told apart, and what comes after has the value
// "other" in all that could grow.
package otelapitoken
