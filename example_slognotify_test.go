package apitoken_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/memstore"
)

// The log and somebody else are told of the same events. An error of either
// brings the event back to both, so each must bear to hear of it twice.
func ExampleSlogNotifier() {
	ctx := context.Background()
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		switch a.Key {
		case "time", "id", "token", "creator", "category", "version", "ordinal":
			return slog.Attr{} // an example's output has to be the same each time
		}
		return a
	}}))
	log := apitoken.SlogNotifier(logger)
	mail := apitoken.NotifierFunc(func(_ context.Context, n apitoken.Notification) error {
		fmt.Println("mail to", n.Recipients)
		return nil
	})
	tokens := orPanic(apitoken.New(memstore.New(), apitoken.Options{
		Notifier: apitoken.NotifierFunc(func(ctx context.Context, n apitoken.Notification) error {
			return errors.Join(log.Notify(ctx, n), mail.Notify(ctx, n))
		}),
		Kinds: map[apitoken.Kind]apitoken.Policy{
			"ci": {Notify: map[apitoken.EventType]apitoken.Recipients{apitoken.EventCreated: apitoken.NotifyOwner}},
		},
	}))
	alice := apitoken.Actor{ID: "alice", Tenant: "acme"}
	orPanic(tokens.Issue(ctx, alice, apitoken.IssueRequest{Name: "nightly"}))
	fmt.Println(orPanic(tokens.Deliver(ctx)), "delivered")
	// Output:
	// level=INFO msg="apitoken: event" event.type=token.created event.message="API Token created" event.tenant=acme event.actor.type=user event.name=nightly event.kind=ci event.owner.type=user recipients=[alice]
	// mail to [alice]
	// 1 delivered
}
