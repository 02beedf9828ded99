package jws

// Error says what is wrong with a JWS, for an operator. It never repeats any of
// it. Compare with errors.Is.
type Error struct {
	reason, text string
	name         string
}

// What is wrong, each with the word that Reason returns.
var (
	ErrTooLong       = &Error{reason: "jws_too_long", text: "the signed text is longer than allowed"}
	ErrHeaderTooLong = &Error{reason: "jws_header_too_long", text: "the header is longer than allowed"}
	ErrParts         = &Error{reason: "jws_parts", text: "a compact JWS has three parts, with exactly two dots between them"}
	ErrNoSignature   = &Error{reason: "jws_no_signature", text: "the signature is missing"}
	ErrBase64        = &Error{reason: "jws_base64", text: "a part is not base64url without padding, line breaks and spare bits"}
	ErrUnsafeHeader  = &Error{reason: "jws_unsafe_header", text: "a header parameter is not allowed"}

	ErrJSON       = &Error{reason: "jws_json", text: "the JSON is not valid"}
	ErrUTF8       = &Error{reason: "jws_utf8", text: "the JSON is not UTF-8, or escapes half of a surrogate pair"}
	ErrNotObject  = &Error{reason: "jws_not_object", text: "the JSON is not one object with nothing after it"}
	ErrDuplicate  = &Error{reason: "jws_duplicate", text: "a name occurs twice in one JSON object"}
	ErrTooDeep    = &Error{reason: "jws_too_deep", text: "the JSON is nested too deeply"}
	ErrTooMany    = &Error{reason: "jws_too_many", text: "the JSON object has too many members"}
	ErrMissing    = &Error{reason: "jws_missing", text: "a member is missing"}
	ErrNotText    = &Error{reason: "jws_not_text", text: "a member is not a string, or not what is allowed in its place"}
	ErrNotInteger = &Error{reason: "jws_not_integer", text: "a member is not an integer written without fraction and exponent"}
)

func (e *Error) Error() string {
	if e.name != "" {
		return "jws: " + e.text + ": " + e.name
	}
	return "jws: " + e.text
}

// Reason returns a short, stable word for logs and metrics.
func (e *Error) Reason() string { return e.reason }

// Is makes all errors of one reason equal.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.reason == e.reason
}

// of names the member that was asked for.
func (e *Error) of(name string) error {
	return &Error{reason: e.reason, text: e.text, name: name}
}
