package apitoken

import (
	"fmt"
	"log/slog"
	"strings"
)

// Format writes the request without its credential, whatever the verb: the
// fields are plain strings, because every request fills them.
func (r VerifyRequest) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "VerifyRequest{credential:%s origin:%q address:%s use:%q kinds:%q limits:%q}",
		r.presented(), r.Origin, r.Address, r.Use, r.Kinds, r.Limits)
}

// LogValue returns the request without its credential.
func (r VerifyRequest) LogValue() slog.Value {
	return slog.GroupValue(slog.String("credential", r.presented()), slog.String("origin", r.Origin),
		slog.String("address", r.Address.String()), slog.String("use", r.Use), slog.Any("limits", r.Limits))
}

// MarshalText returns the request without its credential.
func (r VerifyRequest) MarshalText() ([]byte, error) { return fmt.Append(nil, r), nil }

// presented says what there is of a credential.
func (r VerifyRequest) presented() string {
	var has []string
	if r.Token != "" {
		has = append(has, "token "+redacted)
	}
	if r.LegacyID != "" || r.LegacySecret != "" {
		has = append(has, "legacy "+redacted)
	}
	if len(has) == 0 {
		return "none"
	}
	return strings.Join(has, ", ")
}
