package mailnotify_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/mailnotify"
)

func valid() mailnotify.Options {
	return mailnotify.Options{Users: users, Host: "smtp.example.com", From: "tokens@example.com"}
}

func TestNewFaults(t *testing.T) {
	t.Parallel()
	text := mailnotify.Template{Subject: "s", Text: "t"}
	for _, tt := range []struct {
		name string
		set  func(*mailnotify.Options)
		want []string
	}{
		{"none", func(*mailnotify.Options) {}, nil},
		{"an address as host", func(o *mailnotify.Options) { o.Host = "2001:db8::1" }, nil},
		{"nothing", func(o *mailnotify.Options) { *o = mailnotify.Options{} }, []string{"Users", "Host", "From"}},
		{"a host with a port", func(o *mailnotify.Options) { o.Host = "smtp.example.com:587" }, []string{"Host"}},
		{"a socket", func(o *mailnotify.Options) { o.Host = "unix:///run/smtp" }, []string{"Host"}},
		{"a line break", func(o *mailnotify.Options) { o.Host = "smtp\r\n" }, []string{"Host"}},
		{"ports", func(o *mailnotify.Options) { o.Port = 65536 }, []string{"Port"}},
		{"timeouts", func(o *mailnotify.Options) { o.Timeout = 2 * time.Minute }, []string{"Timeout"}},
		{"half a login", func(o *mailnotify.Options) { o.Username = "u" }, []string{"Password"}},
		{"the other half", func(o *mailnotify.Options) { o.Password = apitoken.NewSecret("p") }, []string{"Password"}},
		{"a password in the clear", func(o *mailnotify.Options) {
			o.InsecurePlaintext, o.Username, o.Password = true, "u", apitoken.NewSecret("p")
		}, []string{"InsecurePlaintext"}},
		{"both", func(o *mailnotify.Options) { o.InsecurePlaintext, o.ImplicitTLS = true, true }, []string{"InsecurePlaintext"}},
		{"two senders", func(o *mailnotify.Options) { o.From = "a@example.com, b@example.com" }, []string{"From"}},
		{"a sender's header", func(o *mailnotify.Options) { o.From, o.ReplyTo = "a@example.com\r\nX: y", "x" }, []string{"From", "ReplyTo"}},
		{"an international sender", func(o *mailnotify.Options) { o.From = "a@exämple.com" }, []string{"From"}},
		{"templates", func(o *mailnotify.Options) {
			o.Templates = []mailnotify.Template{
				{},
				{Subject: "{{", Text: "t"},
				{Subject: "s", Text: "{{.TokenNam}}"},
				{Subject: "s", Text: "t", HTML: "<a href='{{if .Reason}}'>"},
				{Subject: "s", Text: "t", HTML: "{{if .Reason}}<a href='{{end}}{{.Reason}}"},
				{Subject: "s", Text: "{{index .Changed 0}}"},
				{Subject: "s"},
				text, text,
				{Subject: "s", Text: "t", Event: apitoken.EventCreated, Language: "pt-BR"},
				{Subject: "s", Text: "t", Event: apitoken.EventCreated, Language: "PT_br"},
			}
		}, []string{
			"Templates[0].Subject", "Templates[1].Subject", "Templates[2].Text", "Templates[3].HTML", "Templates[4].HTML", "Templates[5].Text",
			"Templates[6].Text", "Templates[8]", "Templates[10]",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			opts := valid()
			tt.set(&opts)
			_, err := mailnotify.New(opts)
			var got []string
			for _, f := range apitoken.Fields(err) {
				got = append(got, f.Field)
			}
			require.Equal(t, tt.want, got, err)
			require.Equal(t, tt.want == nil, err == nil)
		})
	}
}

// The nearest template for the language first, then for the event.
func TestPick(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	opts := s.options()
	for _, which := range []struct {
		event    apitoken.EventType
		language string
	}{
		{"", "de"}, {"", "de-AT"}, {apitoken.EventExpired, "de"}, {apitoken.EventExpired, ""}, {apitoken.EventRevoked, "pt-BR"},
	} {
		opts.Templates = append(opts.Templates, mailnotify.Template{
			Event: which.event, Language: which.language, Subject: "for [" + string(which.event) + "][" + which.language + "]", Text: "t",
		})
	}
	for _, tt := range []struct {
		event          apitoken.EventType
		language, want string
	}{
		{apitoken.EventExpired, "de", "for [token.expired][de]"},
		{apitoken.EventExpired, "de-CH", "for [token.expired][de]"},
		{apitoken.EventExpired, "de-CH-1996", "for [token.expired][de]"},
		{apitoken.EventExpired, "de-AT", "for [][de-AT]"},
		{apitoken.EventExpired, "DE_at", "for [][de-AT]"},
		{apitoken.EventExpired, "fr", "for [token.expired][]"},
		{apitoken.EventExpired, "", "for [token.expired][]"},
		{apitoken.EventRevoked, "de", "for [][de]"},
		{apitoken.EventRevoked, "pt-BR", "for [token.revoked][pt-BR]"},
		{apitoken.EventRevoked, "pt", "Acme: API token revoked"},
		{apitoken.EventRevoked, "den", "Acme: API token revoked"},
		{apitoken.EventRevoked, "", "Acme: API token revoked"},
		{apitoken.EventRevoked, "-", "Acme: API token revoked"},
		{apitoken.EventRevoked, "\r\n", "Acme: API token revoked"},
	} {
		t.Run(string(tt.event)+tt.language, func(t *testing.T) {
			s.on(nil)
			opts.Users = mailnotify.UsersFunc(func(context.Context, string, string) (mailnotify.Contact, error) {
				return mailnotify.Contact{Address: "ann@example.com", Language: tt.language}, nil
			})
			e := note("ann")
			e.Event.Type = tt.event
			require.NoError(t, newNotifier(t, opts).Notify(t.Context(), e))
			p := s.take()[0].parse(t)
			require.Equal(t, tt.want, p.subject(t))
			require.Equal(t, strings.HasPrefix(tt.want, "for"), p.html == "", "without HTML the mail is text alone")
		})
	}
}

// A template that fails on one event fails that mail, not the process.
func TestTemplateFails(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	opts := s.options()
	opts.Templates = []mailnotify.Template{{Subject: "s", Text: `t{{if eq .TokenName "bad"}}{{index .Changed 7}}{{end}}`}}
	n := newNotifier(t, opts)
	e := note("ann")
	e.Event.Target.Name = "bad"
	require.ErrorContains(t, n.Notify(t.Context(), e), "user ann: writing the mail: ")
	require.Empty(t, s.connected)
	require.NoError(t, n.Notify(t.Context(), note("ann")))
}

func TestLine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, give, want string }{
		{"empty", "", ""},
		{"plain", "nightly build", "nightly build"},
		{"breaks", " a\r\nb\tc\u2028d\u0085e ", "a b c d e"},
		{"overrides", "a\u202eb\u2066c", "a b c"},
		{"other scripts", "日本語 Žižek 👍", "日本語 Žižek 👍"},
		{"not UTF-8", "a\xffb", "a b"},
		{"NUL", "a\x00b", "a b"},
		{"500", strings.Repeat("ž", 500), strings.Repeat("ž", 500)},
		{"501", strings.Repeat("ž", 501), strings.Repeat("ž", 499) + "…"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, mailnotify.Line(tt.give))
		})
	}
}

// The oldest are forgotten, and no more is kept than is said.
func TestMemory(t *testing.T) {
	t.Parallel()
	var m mailnotify.Memory
	name := func(i int) string { return time.Duration(i).String() }
	for i := range mailnotify.MaxRemembered {
		m.Add(name(i), "ann")
	}
	m.Add(name(0), "ann") // known already: nothing is pushed out
	require.True(t, m.Has(name(0), "ann"))
	require.False(t, m.Has(name(0), "bob"))
	m.Add("new", "ann")
	require.True(t, m.Has("new", "ann"))
	require.False(t, m.Has(name(0), "ann"))
	require.True(t, m.Has(name(1), "ann"))
	m.Add("a", "bc")
	require.False(t, m.Has("ab", "c"))
}

// Whatever a text is, it becomes one line; whatever passes for an address can
// stand in a header and a command.
func FuzzLine(f *testing.F) {
	for _, s := range []string{"", "a\r\nb", "\u202e", "\xff", "ann@example.com", "a@b>\r\nRCPT TO:<c@d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := mailnotify.Line(s)
		require.Equal(t, got, mailnotify.Line(got))
		require.False(t, strings.ContainsAny(got, "\r\n\x00\u2028\u2029\u202e"))
		require.LessOrEqual(t, len([]rune(got)), 500)
		if mailnotify.PlainAddress(s) {
			require.False(t, strings.ContainsAny(s, " \r\n<>\",;"))
		}
	})
}
