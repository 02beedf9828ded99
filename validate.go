package apitoken

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode"
	"unicode/utf8"
)

// Bounds of what a caller may give.
const (
	maxName           = 256  // characters
	maxDescription    = 4096 // characters
	maxReason         = 1024 // characters
	maxIdentifier     = 256  // bytes: tenants, users, agents, roles, idempotency keys
	maxMetadataPairs  = 16
	maxMetadataBytes  = 4096
	maxLegacyID       = 128
	minLegacySecret   = 20
	maxLegacySecret   = 256
	maxClip           = 64
	maxPermissionList = MaxPermissions
)

// faults collects what is wrong with a request, so that all of it is told at
// once.
type faults []error

func (f *faults) add(field, format string, args ...any) {
	*f = append(*f, fieldErr(field, format, args...))
}

func (f *faults) addErr(err error) {
	if err != nil {
		*f = append(*f, err)
	}
}

func (f faults) join() error { return errors.Join(f...) }

// text checks a text that people read.
func (f *faults) text(field, s string, maxRunes int, lines bool) {
	switch {
	case len(s) > 4*maxRunes || utf8.RuneCountInString(s) > maxRunes:
		f.add(field, "is longer than %d characters: shorten it", maxRunes)
	case !utf8.ValidString(s):
		f.add(field, "is not valid UTF-8")
	case hasControl(s, lines):
		f.add(field, "has control characters or bidirectional overrides: remove them")
	}
}

// identifier checks a name that programs compare.
func (f *faults) identifier(field, s string) {
	switch {
	case len(s) > maxIdentifier:
		f.add(field, "is longer than %d bytes", maxIdentifier)
	case !utf8.ValidString(s):
		f.add(field, "is not valid UTF-8")
	case hasControl(s, false):
		f.add(field, "has control characters or bidirectional overrides")
	}
}

// required checks an identifier that must be there.
func (f *faults) required(field, s string) {
	if isBlank(s) {
		f.add(field, "is required")
		return
	}
	f.identifier(field, s)
}

func (f *faults) name(s string) {
	if isBlank(s) {
		f.add("name", "is required: say what the token is for")
		return
	}
	f.text("name", s, maxName, false)
}

func (f *faults) share(percent int) {
	if percent < 1 || percent > 100 {
		f.add("share", "is %d: give a percentage of 1 to 100", percent)
	}
}

func (f *faults) metadata(m map[string]string) {
	if len(m) > maxMetadataPairs {
		f.add("metadata", "has %d pairs: at most %d are possible", len(m), maxMetadataPairs)
		return
	}
	size := 0
	for _, k := range slices.Sorted(maps.Keys(m)) {
		v := m[k]
		size += len(k) + len(v)
		if k == "" {
			f.add("metadata", "has a pair without a key: name it")
		}
		if !utf8.ValidString(k) || !utf8.ValidString(v) || hasControl(k, false) || hasControl(v, true) {
			f.add("metadata", "the pair %q is not UTF-8 or has control characters", clip(k))
		}
	}
	if size > maxMetadataBytes {
		f.add("metadata", "is %d bytes: at most %d are possible", size, maxMetadataBytes)
	}
}

// hasControl reports control characters and the invisible ones that reorder
// text; lines allows line breaks and tabs.
func hasControl(s string, lines bool) bool {
	for _, r := range s {
		if lines && (r == '\n' || r == '\t' || r == '\r') {
			continue
		}
		if deceives(r) {
			return true
		}
	}
	return false
}

func deceives(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// isBlank reports that nothing of s can be seen.
func isBlank(s string) bool {
	for _, r := range s {
		if !unicode.IsSpace(r) && !unicode.Is(unicode.Cf, r) {
			return false
		}
	}
	return true
}

// clip shortens what a caller wrote for an error message.
func clip(s string) string {
	if utf8.RuneCountInString(s) <= maxClip {
		return s
	}
	r := []rune(s[:min(len(s), 4*maxClip)])
	return fmt.Sprintf("%s…", string(r[:min(len(r), maxClip)]))
}
