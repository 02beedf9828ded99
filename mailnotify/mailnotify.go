package mailnotify

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/mail"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/tokenry/apitoken"
)

// Options of [New].
type Options struct {
	// Users says where a user is written to. Required.
	Users Users
	// Host is the mail server's name, to which its certificate must be issued.
	// Required.
	Host string
	// Port defaults to 587, and to 465 with ImplicitTLS.
	Port int
	// ImplicitTLS: TLS from the first byte (RFC 8314), instead of STARTTLS.
	ImplicitTLS bool
	// Username and Password log in. "" = without logging in.
	Username string
	Password apitoken.Secret
	// From is the sender, as "Acme <tokens@example.com>". Required. The domain is
	// the one of Message-IDs; write an international one as xn--….
	From string
	// ReplyTo is who gets answers. "" = From.
	ReplyTo string
	// Product is the name of the host's product in the built-in texts. "" = none.
	Product string
	// Templates replace the built-in texts.
	Templates []Template
	// Timeout bounds connecting, with the login, and then each mail. Defaults to 15
	// seconds; 1 second to 1 minute.
	Timeout time.Duration
	// RootCAs are the authorities that the server's certificate is checked against.
	// nil = the system's.
	RootCAs *x509.CertPool
	// InsecurePlaintext sends without TLS, for a server on loopback or in a test:
	// who is on the way reads the mails. A Password is then refused.
	InsecurePlaintext bool
	// Clock is read for the Date of mails. Defaults to [apitoken.SystemClock].
	Clock apitoken.Clock
}

// Users says where a user is written to. It must be safe for concurrent use and
// honour its context.
type Users interface {
	// Contact of a user of the tenant. [apitoken.ErrNotFound] = is not written to;
	// any other error brings the event back later.
	Contact(ctx context.Context, tenant, user string) (Contact, error)
}

// UsersFunc adapts a function to [Users].
type UsersFunc func(ctx context.Context, tenant, user string) (Contact, error)

// Contact calls f.
func (f UsersFunc) Contact(ctx context.Context, tenant, user string) (Contact, error) {
	return f(ctx, tenant, user)
}

// Contact is where a user is written to.
type Contact struct {
	Address  string // "ann@example.com", without a name, in ASCII; "" = is not written to
	Name     string // for the To field and the greeting; "" = none
	Language string // a tag such as "de" or "pt-BR" (RFC 5646); "" = the default
}

// RecipientError is why a user has no mail. Err is what the host's look-up, a
// template or the server said; the text repeats no address.
type RecipientError struct {
	User string
	Err  error
}

func (e *RecipientError) Error() string {
	return fmt.Sprintf("mailnotify: user %s: %s", e.User, describe(e.Err))
}

func (e *RecipientError) Unwrap() error { return e.Err }

// Notifier mails notifications. It is safe for concurrent use.
type Notifier struct {
	opts      Options
	from      mail.Address
	replyTo   *mail.Address // nil = none
	domain    string
	templates map[choice]*compiled
	sent      memory
}

var _ apitoken.Notifier = (*Notifier)(nil)

// New returns a Notifier. All faults of opts come joined, each an
// [apitoken.FieldError]; templates are tried out. New connects to nothing.
func New(opts Options) (*Notifier, error) {
	var errs []error
	bad := func(field, problem string, args ...any) {
		errs = append(errs, &apitoken.FieldError{Field: field, Problem: fmt.Sprintf(problem, args...)})
	}
	if opts.Users == nil {
		bad("Users", "is nil: say where a user is written to")
	}
	if _, err := netip.ParseAddr(opts.Host); err != nil && (opts.Host == "" || strings.ContainsFunc(opts.Host, notInHost)) {
		bad("Host", "is not the name of a mail server, such as smtp.example.com")
	}
	if opts.Port == 0 {
		opts.Port = 587
		if opts.ImplicitTLS {
			opts.Port = 465
		}
	}
	if opts.Port < 1 || opts.Port > 65535 {
		bad("Port", "is %d: give 1 to 65535, or 0 for the usual one", opts.Port)
	}
	if (opts.Username == "") != opts.Password.IsZero() {
		bad("Password", "and Username are both needed to log in, or neither")
	}
	if opts.InsecurePlaintext && !opts.Password.IsZero() {
		bad("InsecurePlaintext", "would send the Password where everybody on the way can read it: use TLS")
	}
	if opts.InsecurePlaintext && opts.ImplicitTLS {
		bad("InsecurePlaintext", "contradicts ImplicitTLS: set one of them")
	}
	if opts.Timeout == 0 {
		opts.Timeout = 15 * time.Second
	}
	if opts.Timeout < time.Second || opts.Timeout > time.Minute {
		bad("Timeout", "is %s: give 1s to 1m0s, or 0 for 15s", opts.Timeout)
	}
	if opts.Clock == nil {
		opts.Clock = apitoken.SystemClock
	}
	n := &Notifier{opts: opts}
	if from, err := mail.ParseAddress(opts.From); err != nil || !plainAddress(from.Address) || hasControl(from.Name) {
		bad("From", "is not an address such as Acme <tokens@example.com>")
	} else {
		n.from = *from
		n.domain = from.Address[strings.LastIndexByte(from.Address, '@')+1:]
	}
	if opts.ReplyTo != "" {
		to, err := mail.ParseAddress(opts.ReplyTo)
		if err != nil || !plainAddress(to.Address) || hasControl(to.Name) {
			bad("ReplyTo", "is not an address such as Acme <help@example.com>")
		}
		n.replyTo = to
	}
	var err error
	if n.templates, err = compileAll(opts.Templates); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return n, nil
}

// Notify implements [apitoken.Notifier]: it mails each recipient who does not
// have this event's mail yet. The errors are joined: a [RecipientError] for each
// who has none now, or one for all if the server could not be reached.
func (n *Notifier) Notify(ctx context.Context, note apitoken.Notification) error {
	var errs []error
	var letters []letter
	for _, user := range slices.Compact(slices.Sorted(slices.Values(note.Recipients))) {
		if n.sent.has(keyOf(note.Event.ID, user)) {
			continue
		}
		l, err := n.write(ctx, &note.Event, user)
		switch {
		case err != nil:
			errs = append(errs, &RecipientError{User: user, Err: err})
		case l.message != nil:
			letters = append(letters, l)
		}
	}
	if len(letters) > 0 {
		errs = append(errs, n.send(ctx, letters)...)
	}
	return errors.Join(errs...)
}

func notInHost(r rune) bool {
	return r <= ' ' || r > unicode.MaxASCII || strings.ContainsRune("/:@[]", r)
}

// plainAddress reports whether s is an address that stands in a header and in an
// SMTP command as it is. Quoted local parts may hold nearly anything, and nobody
// has one.
func plainAddress(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > unicode.MaxASCII || strings.ContainsRune(`"<>()[]\,;:`, r) })
}

// hasControl reports characters that would break a line or reorder it.
func hasControl(s string) bool { return strings.ContainsFunc(s, isControl) }

func isControl(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' || r == unicode.ReplacementChar
}
