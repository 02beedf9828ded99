package mailnotify_test

import (
	"context"
	"fmt"
	"mime"
	"net/mail"
	"strings"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/mailnotify"
	"github.com/tokenry/apitoken/memstore"
)

// A host whose users are mailed when a token of theirs is made, in German where
// they read that.
func Example() {
	server, stop := startServer() // a mail server on loopback; yours is in Options.Host
	defer stop()
	ctx := context.Background()

	mails, err := mailnotify.New(mailnotify.Options{
		Host: "127.0.0.1", Port: server.port(), RootCAs: server.roots,
		From: "Acme <tokens@acme.example>", Product: "Acme",
		Users: mailnotify.UsersFunc(func(_ context.Context, tenant, user string) (mailnotify.Contact, error) {
			switch user { // a look-up in your database
			case "alice":
				return mailnotify.Contact{Address: "alice@acme.example", Name: "Alice"}, nil
			case "jörg":
				return mailnotify.Contact{Address: "joerg@acme.example", Name: "Jörg", Language: "de-AT"}, nil
			}
			return mailnotify.Contact{}, apitoken.ErrNotFound
		}),
		Templates: []mailnotify.Template{{
			Event: apitoken.EventCreated, Language: "de",
			Subject: "Acme: neues API-Token",
			Text:    "Hallo {{.UserName}},\n\ndas Token „{{.TokenName}}“ wurde erstellt, am {{date .Time}}.\n",
			HTML:    "<p>Hallo {{.UserName}},</p><p>das Token „{{.TokenName}}“ wurde erstellt, am {{date .Time}}.</p>",
		}},
	})
	if err != nil {
		panic(err)
	}
	tokens, err := apitoken.New(memstore.New(), apitoken.Options{
		Notifier: mails,
		Kinds: map[apitoken.Kind]apitoken.Policy{
			"ci": {Notify: map[apitoken.EventType]apitoken.Recipients{apitoken.EventCreated: apitoken.NotifyOwner}},
		},
	})
	if err != nil {
		panic(err)
	}
	for _, user := range []string{"alice", "jörg"} {
		if _, err := tokens.Issue(ctx, apitoken.Actor{ID: user, Tenant: "acme"}, apitoken.IssueRequest{Name: "nightly"}); err != nil {
			panic(err)
		}
		fmt.Println(tokens.Deliver(ctx)) // Run does this by itself
	}
	for _, m := range server.take() {
		got, err := mail.ReadMessage(strings.NewReader(m.data))
		if err != nil {
			panic(err)
		}
		to, _ := new(mime.WordDecoder).DecodeHeader(got.Header.Get("To"))
		fmt.Println(to, "–", got.Header.Get("Subject"))
	}
	// Output:
	// 1 <nil>
	// 1 <nil>
	// "Alice" <alice@acme.example> – Acme: API token created
	// Jörg <joerg@acme.example> – Acme: neues API-Token
}

// Templates are tried when the server starts, not by the first token that
// expires.
func ExampleNew() {
	_, err := mailnotify.New(mailnotify.Options{
		Host: "smtp.example.com", From: "tokens@example.com",
		Users: mailnotify.UsersFunc(func(context.Context, string, string) (mailnotify.Contact, error) {
			return mailnotify.Contact{}, nil
		}),
		Templates: []mailnotify.Template{{Subject: "Token expired", Text: "{{.TokenNames}} has expired."}},
	})
	for _, f := range apitoken.Fields(err) {
		fmt.Println(f.Field)
	}
	// Output:
	// Templates[0].Text
}
