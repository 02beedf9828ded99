// Package promapitoken tells Prometheus what an [apitoken.Service] does.
//
//	observer, err := promapitoken.New(prometheus.DefaultRegisterer, promapitoken.Options{})
//	tokens, err := apitoken.New(store, apitoken.Options{Observer: observer, …})
//	err = prometheus.Register(promapitoken.NewStatusCollector(tokens, promapitoken.StatusOptions{}))
//
// # What happens
//
//	apitoken_verifications_total            counter    call, outcome, reason, part, kind, scheme
//	apitoken_verification_duration_seconds  histogram  call, outcome, kind, scheme
//	apitoken_limit_decisions_total          counter    limit, per, outcome, local
//	apitoken_store_failures_total           counter    call
//	apitoken_sweep_steps_total              counter    step
//	apitoken_sweep_duration_seconds         histogram  outcome
//
// A label that does not apply is empty.
//   - call is "verify", "admit" or "recheck"; of a store failure, the method of the
//     store.
//   - outcome of a verification is "accepted", "refused" (the answer is no; reason
//     says why) or "failed" (there is no answer, because a part did not give its own;
//     part says which). A client that went away while a part was asked counts as
//     failed too. Of a limit it is "allowed" or "refused", of a sweep "completed" or
//     "failed".
//   - per is "token", "owner", "tenant" or "key".
//   - local is "true" where a shared limiter could not be reached.
//   - step is "noticed", "ended", "expired", "revoked", "purged", "held", "conflicts"
//     or "failed": see [apitoken.Swept].
//
// The histogram of verifications has neither reason nor part: each combination of its
// labels is a dozen time series, and how long something took depends on them little.
//
// # How it stands
//
// [NewStatusCollector] has gauges of what [apitoken.Service.Status] says, which it
// asks at each scrape. What it counts in the store is the same on all nodes: take
// the max over them, not the sum.
//
// # Bounds
//
// No label holds a secret, an ID, an error's text or anything that a client made up.
// What the labels can be comes from the configuration and from fixed sets; should a
// host name kinds or limits at will all the same, the first 1,000 combinations of
// each metric are told apart, and what comes after has the value "other" in all that
// could grow.
//
// # Several Services
//
// One Observer can serve several Services; their numbers are then added up. To tell
// them apart, make one for each with a registerer of its own:
// prometheus.WrapRegistererWith(prometheus.Labels{"service": "console"}, registerer).
package promapitoken
