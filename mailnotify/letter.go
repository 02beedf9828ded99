package mailnotify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	netmail "net/mail"

	"github.com/wneessen/go-mail"

	"github.com/tokenry/apitoken"
)

// letter is a mail to one user, ready to be sent.
type letter struct {
	user    string
	key     key
	message *mail.Msg // nil = the user is not written to
}

// write asks where the user is written to and makes the mail.
func (n *Notifier) write(ctx context.Context, e *apitoken.Event, user string) (letter, error) {
	contact, err := n.opts.Users.Contact(ctx, e.Tenant, user)
	if errors.Is(err, apitoken.ErrNotFound) {
		return letter{}, nil
	}
	if err != nil {
		return letter{}, fmt.Errorf("asking for the address: %w", err)
	}
	if contact.Address == "" {
		return letter{}, nil
	}
	// A name inside of Address would make two that contradict each other, and a
	// list of addresses two recipients.
	to, err := netmail.ParseAddress(contact.Address)
	if err != nil || to.Address != contact.Address || !plainAddress(to.Address) {
		return letter{}, errors.New("the address is not one plain address")
	}
	to.Name = line(contact.Name)

	text, err := n.pick(e.Type, contact.Language).render(newData(e, n.opts.Product, user, contact))
	if err != nil {
		return letter{}, err
	}
	m := mail.NewMsg(mail.WithNoDefaultUserAgent())
	m.FromMailAddress(&n.from)
	if n.replyTo != nil {
		m.ReplyToMailAddress(n.replyTo)
	}
	m.ToMailAddress(to)
	m.Subject(text.subject)
	m.SetDateWithValue(n.opts.Clock.Now())
	key := keyOf(e.ID, user)
	m.SetMessageIDWithValue(messageID(key, n.domain))
	m.SetGenHeader("Auto-Submitted", "auto-generated")
	m.SetBodyString(mail.TypeTextPlain, text.text)
	if text.html != "" {
		m.AddAlternativeString(mail.TypeTextHTML, text.html)
	}
	return letter{user: user, key: key, message: m}, nil
}

// messageID is the same for each copy of a mail. It is hashed again, so that
// what this process remembers by stays its own.
func messageID(k key, domain string) string {
	sum := sha256.Sum256(append([]byte("apitoken:mail:"), k[:]...))
	return hex.EncodeToString(sum[:16]) + "@" + domain
}
