package mailnotify_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/mailnotify"
)

var start = time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC)

// users writes to everybody at example.com, in English.
var users = mailnotify.UsersFunc(func(_ context.Context, _, user string) (mailnotify.Contact, error) {
	return mailnotify.Contact{Address: user + "@example.com"}, nil
})

// options are options that work with s.
func (s *server) options() mailnotify.Options {
	return mailnotify.Options{
		Users: users, Host: "127.0.0.1", Port: s.port(), RootCAs: s.roots, From: "Acme Tokens <tokens@acme.example>",
		Product: "Acme", Clock: apitoken.ClockFunc(func() time.Time { return start }), ImplicitTLS: s.implicit,
		Username: s.user, Password: apitoken.NewSecret(s.password),
	}
}

func newNotifier(t *testing.T, opts mailnotify.Options) *mailnotify.Notifier {
	t.Helper()
	n, err := mailnotify.New(opts)
	require.NoError(t, err)
	return n
}

func note(recipients ...string) apitoken.Notification {
	return apitoken.Notification{Recipients: recipients, Event: apitoken.Event{
		ID: "tok.1.0", Type: apitoken.EventRevoked, Message: "API Token revoked", Time: start, Tenant: "acme",
		Actor:   apitoken.Party{Type: apitoken.PartyUser, ID: "ann"},
		Target:  apitoken.Target{Token: "tok", Name: "ci", Kind: "personal", Owner: apitoken.Party{Type: apitoken.PartyUser, ID: "bob"}},
		Version: 1, Reason: "left", ExpiresAt: start.Add(time.Hour),
	}}
}

// parsed is a mail as its reader's program sees it.
type parsed struct {
	header     mail.Header
	text, html string
}

func (d delivered) parse(t *testing.T) parsed {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(d.data))
	require.NoError(t, err)
	p := parsed{header: m.Header}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	require.NoError(t, err)
	if kind == "text/plain" {
		body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
		require.NoError(t, err)
		p.text = string(body)
		return p
	}
	require.Equal(t, "multipart/alternative", kind)
	parts := multipart.NewReader(m.Body, params["boundary"])
	for i, want := range []string{"text/plain", "text/html"} { // the last one is what programs prefer
		part, err := parts.NextPart()
		require.NoError(t, err)
		kind, _, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		require.NoError(t, err)
		require.Equal(t, want, kind)
		body, err := io.ReadAll(part)
		require.NoError(t, err)
		*[]*string{&p.text, &p.html}[i] = string(body)
	}
	_, err = parts.NextPart()
	require.ErrorIs(t, err, io.EOF)
	return p
}

func (p parsed) subject(t *testing.T) string {
	t.Helper()
	text, err := new(mime.WordDecoder).DecodeHeader(p.header.Get("Subject"))
	require.NoError(t, err)
	return text
}

// S2.31: from the change of a token to the mails of its creator and every system
// administrator, over STARTTLS with a login, and one each.
func TestDelivery(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(s *server) { s.user, s.password = "acme", "pass word" })
	fixed := apitoken.FixedTermPolicy("")
	env := apitokentest.New(t, apitoken.Options{
		Kinds: map[apitoken.Kind]apitoken.Policy{"report": fixed}, Notifier: newNotifier(t, s.options()),
	})
	env.Admins.Set(apitokentest.Tenant,
		apitoken.Administrator{ID: "root", System: true, Active: true}, apitoken.Administrator{ID: "dan", Active: true})
	issued := env.Issue(apitoken.IssueRequest{Name: "weekly <b>figures</b>"})
	delivered, err := env.Service.Deliver(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, delivered)

	mails := s.take()
	require.Len(t, mails, 2)
	ids := make(map[string]bool)
	for i, user := range []string{apitokentest.User, "root"} {
		require.True(t, mails[i].tls)
		require.Equal(t, []string{"<" + user + "@example.com>"}, mails[i].to)
		require.Equal(t, "FROM:<tokens@acme.example>", mails[i].from)
		p := mails[i].parse(t)
		require.Equal(t, "<"+user+"@example.com>", p.header.Get("To"))
		require.Equal(t, `"Acme Tokens" <tokens@acme.example>`, p.header.Get("From"))
		require.Equal(t, "Acme: API token created", p.subject(t))
		require.Equal(t, "auto-generated", p.header.Get("Auto-Submitted"))
		require.Equal(t, start.Format(time.RFC1123Z), p.header.Get("Date"))
		require.Regexp(t, `^<[0-9a-f]{32}@acme\.example>$`, p.header.Get("Message-ID"))
		ids[p.header.Get("Message-ID")] = true
		require.Contains(t, p.text, `"weekly <b>figures</b>"`)
		require.Contains(t, p.html, "“weekly &lt;b&gt;figures&lt;/b&gt;”")
		require.NotContains(t, mails[i].data, issued.Secret.Reveal())
	}
	require.Len(t, ids, 2)
	require.Equal(t, 1, s.logins, "one conversation for all")
	require.NotContains(t, s.said(), "clear MAIL")
	require.NotContains(t, s.said(), "clear AUTH")
}

// S2.34: at expiry a second mail to the same people.
func TestExpiry(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	env := apitokentest.New(t, apitoken.Options{
		Kinds: map[apitoken.Kind]apitoken.Policy{"report": apitoken.FixedTermPolicy("")}, Notifier: newNotifier(t, s.options()),
	})
	env.Admins.Set(apitokentest.Tenant, apitoken.Administrator{ID: "root", System: true, Active: true})
	env.Issue(apitoken.IssueRequest{Name: "weekly"})
	var got []string
	for range 2 {
		_, err := env.Service.Sweep(t.Context())
		require.NoError(t, err)
		_, err = env.Service.Deliver(t.Context())
		require.NoError(t, err)
		for _, m := range s.take() {
			got = append(got, m.to[0]+" "+m.parse(t).subject(t))
		}
		env.Clock.Advance(91 * 24 * time.Hour)
	}
	require.Equal(t, []string{
		"<ann@example.com> Acme: API token created", "<root@example.com> Acme: API token created",
		"<ann@example.com> Acme: API token expired", "<root@example.com> Acme: API token expired",
	}, got)
}

// The built-in texts, as they arrive.
func TestBuiltInTexts(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	opts := s.options()
	opts.Users = mailnotify.UsersFunc(func(context.Context, string, string) (mailnotify.Contact, error) {
		return mailnotify.Contact{Address: "bob@example.com", Name: "Bob Žižek", Language: "cs"}, nil
	})
	opts.ReplyTo = "Hilfe für Acme <help@acme.example>"
	n := newNotifier(t, opts)
	require.NoError(t, n.Notify(t.Context(), note("bob")))
	p := s.take()[0].parse(t)
	replies, err := mail.ParseAddress(p.header.Get("Reply-To"))
	require.NoError(t, err)
	require.Equal(t, &mail.Address{Name: "Hilfe für Acme", Address: "help@acme.example"}, replies)
	to, err := mail.ParseAddress(p.header.Get("To"))
	require.NoError(t, err)
	require.Equal(t, &mail.Address{Name: "Bob Žižek", Address: "bob@example.com"}, to)
	require.Equal(t, `Hello Bob Žižek,

An API token was revoked. It no longer works, and cannot be brought back.

If something still needs it, create a new one.

Token:    "ci"
ID:       tok
Kind:     personal
Owner:    user bob
Done by:  user ann
Reason:   "left"
When:     2027-03-01 12:00 UTC
Expires:  2027-03-01 13:00 UTC
Tenant:   acme
`, strings.ReplaceAll(p.text, "\r\n", "\n"))
	for _, words := range []string{"<p>Hello Bob Žižek,</p>", "cannot be brought back", "“left”", "2027-03-01 13:00 UTC", "</html>"} {
		require.Contains(t, p.html, words)
	}

	for _, event := range []apitoken.EventType{
		apitoken.EventCreated, apitoken.EventEdited, apitoken.EventExtended, apitoken.EventDisabled, apitoken.EventEnabled, apitoken.EventRotated,
		apitoken.EventRevoked, apitoken.EventDeleted, apitoken.EventExpired, apitoken.EventReused, apitoken.EventOrigins, "token.of_tomorrow",
	} {
		one := note("bob")
		one.Event.ID, one.Event.Type, one.Event.Message = string(event), event, "What the policy calls it"
		require.NoError(t, n.Notify(t.Context(), one))
		p := s.take()[0].parse(t)
		require.Equal(t, event == "token.of_tomorrow", p.subject(t) == "Acme: What the policy calls it", event)
		require.NotContains(t, p.subject(t), "ci", "users choose names")
	}
}

// One refused address keeps nobody else from a mail, and the next attempt mails
// only who has none.
func TestOneRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.refuse("RCPT TO:<bob@", "550 5.1.1 <bob@example.com>: who?")
	n := newNotifier(t, s.options())
	for attempt := range 3 {
		err := n.Notify(t.Context(), note("ann", "bob", "cid"))
		failed, ok := errors.AsType[*mailnotify.RecipientError](err)
		require.True(t, ok, err)
		require.Equal(t, "bob", failed.User)
		require.ErrorContains(t, err, "550 5.1.1")
		require.NotContains(t, err.Error(), "example.com", "logs need no addresses")
		require.Len(t, s.take(), []int{2, 0, 0}[attempt])
	}
	s.on(nil)
	require.NoError(t, n.Notify(t.Context(), note("ann", "bob", "cid")))
	mails := s.take()
	require.Len(t, mails, 1)
	require.Equal(t, []string{"<bob@example.com>"}, mails[0].to)
	require.NoError(t, n.Notify(t.Context(), note("ann", "bob", "cid")))
	require.Empty(t, s.take())
}

// A copy, from another process or because the server's answer was lost, has the
// Message-ID of the first.
func TestCopiesHaveOneMessageID(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.refuse("DATA END", "drop")
	n := newNotifier(t, s.options())
	require.Error(t, n.Notify(t.Context(), note("ann", "bob")), "whether the mail was taken is not known")
	s.on(nil)
	require.NoError(t, n.Notify(t.Context(), note("ann", "bob")))
	require.NoError(t, newNotifier(t, s.options()).Notify(t.Context(), note("ann", "bob", "ann")))
	other := note("ann")
	other.Event.ID = "tok.2.0"
	require.NoError(t, n.Notify(t.Context(), other))
	ids := make(map[string]int)
	for _, m := range s.take() {
		ids[m.to[0]+" "+m.parse(t).header.Get("Message-ID")]++
	}
	counts := make(map[int]int)
	for _, n := range ids {
		counts[n]++
	}
	require.Equal(t, map[int]int{3: 1, 2: 1, 1: 1}, counts, "ann's three times, bob's twice, ann's other one: %v", ids)
}

// A server that breaks the connection off after it took a mail has taken it.
func TestDeliveredBeforeTheEnd(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.refuse("RSET", "drop")
	n := newNotifier(t, s.options())
	require.NoError(t, n.Notify(t.Context(), note("ann")))
	require.NoError(t, n.Notify(t.Context(), note("ann")))
	require.Len(t, s.take(), 1)
}

// Who is not written to, and what keeps a person from a mail for now.
func TestContacts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		contact mailnotify.Contact
		err     error
		sent    int
		want    string
	}{
		{name: "plain", contact: mailnotify.Contact{Address: "ann.o'neil+x@mail.example.com"}, sent: 1},
		{name: "unknown", err: apitoken.ErrNotFound},
		{name: "no address", contact: mailnotify.Contact{Name: "Ann"}},
		{name: "outage", err: apitokentest.ErrFault, want: "asking for the address"},
		{name: "a name in the address", contact: mailnotify.Contact{Address: "Ann <ann@example.com>"}, want: "not one plain address"},
		{name: "two addresses", contact: mailnotify.Contact{Address: "ann@example.com, eve@example.com"}, want: "not one plain address"},
		{name: "a header", contact: mailnotify.Contact{Address: "ann@example.com\r\nBcc: eve@example.com"}, want: "not one plain address"},
		{name: "a quoted header", contact: mailnotify.Contact{Address: "\"a\r\n Bcc: eve\"@example.com"}, want: "not one plain address"},
		{name: "a quoted name", contact: mailnotify.Contact{Address: `"ann> RCPT TO:<eve"@example.com`}, want: "not one plain address"},
		{name: "a parameter", contact: mailnotify.Contact{Address: "ann@example.com> NOTIFY=NEVER"}, want: "not one plain address"},
		{name: "no address at all", contact: mailnotify.Contact{Address: "ann"}, want: "not one plain address"},
		{name: "not ASCII", contact: mailnotify.Contact{Address: "ann@exämple.com"}, want: "not one plain address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			opts := s.options()
			opts.Users = mailnotify.UsersFunc(func(_ context.Context, tenant, user string) (mailnotify.Contact, error) {
				require.Equal(t, "acme", tenant)
				if user == "bob" {
					return users(t.Context(), tenant, user)
				}
				return tt.contact, tt.err
			})
			err := newNotifier(t, opts).Notify(t.Context(), note("ann", "bob"))
			require.Len(t, s.take(), 1+tt.sent, "bob has his")
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, "user ann: ")
			require.ErrorContains(t, err, tt.want)
			if tt.err != nil {
				require.ErrorIs(t, err, tt.err)
			}
		})
	}
}

// Nothing that a user can write, or a template, adds a header field or a line to
// the built-in text.
func TestInjection(t *testing.T) {
	t.Parallel()
	const evil = "x\r\nBcc: eve@example.com\r\n\r\n<script>alert(1)</script>\u202e\u2028.\r\n"
	s := newServer(t)
	opts := s.options()
	opts.Product = evil
	opts.Users = mailnotify.UsersFunc(func(_ context.Context, _, user string) (mailnotify.Contact, error) {
		lang := ""
		if user == "bob" {
			lang = "de"
		}
		return mailnotify.Contact{Address: user + "@example.com", Name: evil, Language: lang}, nil
	})
	opts.Templates = []mailnotify.Template{{
		Language: "de", Subject: "{{.TokenName}}\r\n{{.Reason}}", Text: "{{.Actor.ID}}\r\n.\r\nMAIL FROM:<x>\r\n",
		HTML: `<a href="https://acme.example/{{.TokenID}}?q={{.Reason}}" onclick="go({{.TokenName}})">{{.Message}}</a>`,
	}}
	e := note("ann", "bob")
	e.Event.Target = apitoken.Target{Token: evil, Name: evil, Kind: evil, Owner: apitoken.Party{Type: evil, ID: evil}}
	e.Event.Message, e.Event.Reason, e.Event.Tenant, e.Event.Cause, e.Event.Creator, e.Event.RequestID = evil, evil, evil, evil, evil, evil
	e.Event.Actor, e.Event.Changed, e.Event.Type, e.Event.ID = e.Event.Target.Owner, []string{evil}, "other", evil
	require.NoError(t, newNotifier(t, opts).Notify(t.Context(), e))
	mails := s.take()
	require.Len(t, mails, 2)
	for _, m := range mails {
		require.Len(t, m.to, 1)
		p := m.parse(t)
		require.Empty(t, p.header["Bcc"])
		require.Len(t, p.header, 8, "Auto-Submitted, Content-Type, Date, From, Message-ID, MIME-Version, Subject, To")
		require.NotContains(t, p.html, "<script>")
		require.NotContains(t, p.subject(t), "\n")
		to, err := new(mail.AddressParser).Parse(p.header.Get("To"))
		require.NoError(t, err)
		require.NotContains(t, to.Name, "\n")
	}
	p := mails[0].parse(t)
	for line := range strings.Lines(p.text) {
		require.NotRegexp(t, `^(Bcc|<script|\.)`, line)
	}
}

// Without TLS nothing is sent, unless that is asked for; with it, only to whom
// the certificate names.
func TestTLS(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		server func(*server)
		opts   func(*mailnotify.Options)
		want   string // "" = arrives
		tls    bool
	}{
		{"STARTTLS", func(*server) {}, func(*mailnotify.Options) {}, "", true},
		{"from the first byte", func(s *server) { s.implicit, s.user, s.password = true, "u", "p" }, func(*mailnotify.Options) {}, "", true},
		{"the server has none", func(s *server) { s.noTLS = true }, func(*mailnotify.Options) {}, "STARTTLS", false},
		{"somebody took it out, and asks for the password", func(s *server) { s.noTLS, s.user, s.password = true, "u", "p" }, func(*mailnotify.Options) {}, "STARTTLS", false},
		{"a certificate nobody knows", func(*server) {}, func(o *mailnotify.Options) { o.RootCAs = nil }, "certificate", false},
		{"a certificate nobody knows, from the first byte", func(s *server) { s.implicit = true }, func(o *mailnotify.Options) { o.RootCAs = nil }, "certificate", false},
		{"another's certificate", func(*server) {}, func(o *mailnotify.Options) { o.Host = "localhost" }, "certificate", false},
		{"TLS from the first byte on a port that has not", func(*server) {}, func(o *mailnotify.Options) { o.ImplicitTLS = true }, "tls", false},
		{"no TLS, asked for", func(s *server) { s.noTLS = true }, func(o *mailnotify.Options) { o.InsecurePlaintext = true }, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, tt.server)
			opts := s.options()
			tt.opts(&opts)
			err := newNotifier(t, opts).Notify(t.Context(), note("ann"))
			mails := s.take()
			require.NotContains(t, s.said(), "clear AUTH")
			if tt.want != "" {
				require.ErrorContains(t, err, tt.want)
				require.Empty(t, mails)
				return
			}
			require.NoError(t, err)
			require.Len(t, mails, 1)
			require.Equal(t, tt.tls, mails[0].tls)
		})
	}
}

// A wrong password is an error that does not show it.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(s *server) { s.user, s.password = "acme", "right" })
	opts := s.options()
	opts.Password = apitoken.NewSecret("canary-password")
	err := newNotifier(t, opts).Notify(t.Context(), note("ann", "bob"))
	require.ErrorContains(t, err, "535")
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), "canary-password")
	require.Empty(t, s.take())
}

// The end of the context ends a conversation wherever it is; Timeout does too.
func TestServerHangs(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"EHLO", "STARTTLS", "MAIL", "RCPT", "DATA", "RSET"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			s.on(func(line string) string {
				if strings.HasPrefix(line, at) {
					cancel(apitokentest.ErrFault)
					return "hang"
				}
				return ""
			})
			opts := s.options()
			opts.Timeout = time.Minute
			err := newNotifier(t, opts).Notify(ctx, note("ann"))
			if at == "RSET" {
				require.NoError(t, err, "the mail was taken before")
				return
			}
			require.ErrorIs(t, err, apitokentest.ErrFault)
		})
	}
	for at, want := range map[string]string{"EHLO": "127.0.0.1: ", "MAIL": "user ann: "} {
		t.Run("timeout "+at, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.refuse(at, "hang")
			opts := s.options()
			opts.Timeout = time.Second
			forever := context.WithoutCancel(t.Context()) // its end would close what is left open
			require.ErrorContains(t, newNotifier(t, opts).Notify(forever, note("ann")), want)
		})
	}
}

// No recipients, no connection; a server that is not there is one error.
func TestConnecting(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	n := newNotifier(t, s.options())
	require.NoError(t, n.Notify(t.Context(), note()))
	require.Empty(t, s.connected)
	require.NoError(t, n.Notify(t.Context(), note("ann", "bob")))
	require.Len(t, s.connected, 1)

	gone := newServer(t)
	n = newNotifier(t, gone.options())
	gone.listener.Close()
	err := n.Notify(t.Context(), note("ann", "bob"))
	require.ErrorContains(t, err, "refused")
	require.Equal(t, 1, strings.Count(err.Error(), "refused"), "not once for each recipient")
}
