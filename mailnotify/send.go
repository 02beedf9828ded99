package mailnotify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/wneessen/go-mail"
)

// send holds one conversation with the server for all letters.
func (n *Notifier) send(ctx context.Context, letters []letter) []error {
	// go-mail looks at the context until it is connected, and leaves connections
	// open whose greeting, TLS or login fails: both are seen to here.
	closing := func() {}
	defer func() { closing() }()
	client, err := n.client(func(dialing context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(dialing, network, address)
		if err != nil {
			return nil, err
		}
		stop := context.AfterFunc(ctx, func() { c.Close() })
		closing = func() { stop(); c.Close() }
		if !n.opts.ImplicitTLS {
			return c, nil
		}
		secure := tls.Client(c, n.tlsConfig())
		return secure, secure.HandshakeContext(dialing)
	})
	if err != nil {
		return []error{fmt.Errorf("mailnotify: preparing the connection: %w", err)}
	}
	session, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return []error{fmt.Errorf("mailnotify: %s: %w", n.opts.Host, orEnded(ctx, err))}
	}
	var errs []error
	for _, l := range letters {
		err := client.SendWithSMTPClient(session, l.message)
		if l.message.IsDelivered() { // the server took it, whatever came after
			n.sent.add(l.key)
			continue
		}
		errs = append(errs, &RecipientError{User: l.user, Err: orEnded(ctx, err)})
	}
	_ = client.CloseWithSMTPClient(session) // all is said and done
	return errs
}

func (n *Notifier) client(dial mail.DialContextFunc) (*mail.Client, error) {
	opts := []mail.Option{
		mail.WithPort(n.opts.Port), mail.WithTimeout(n.opts.Timeout), mail.WithTLSConfig(n.tlsConfig()),
		mail.WithDialContextFunc(dial), mail.WithoutNoop(),
	}
	switch {
	case n.opts.InsecurePlaintext:
		opts = append(opts, mail.WithTLSPolicy(mail.NoTLS))
	case n.opts.ImplicitTLS:
		opts = append(opts, mail.WithSSL())
	default:
		opts = append(opts, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if n.opts.Username != "" {
		opts = append(opts, mail.WithUsername(n.opts.Username), mail.WithPassword(n.opts.Password.Reveal()),
			mail.WithOpportunisticSMTPAuth(mail.SMTPAuthSCRAMSHA256, mail.SMTPAuthPlain, mail.SMTPAuthLogin))
	}
	return mail.NewClient(n.opts.Host, opts...)
}

func (n *Notifier) tlsConfig() *tls.Config {
	return &tls.Config{ServerName: n.opts.Host, RootCAs: n.opts.RootCAs, MinVersion: tls.VersionTLS12}
}

// orEnded prefers the end of the context to what a closed connection says.
func orEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// describe puts an error into words for a log. What go-mail says of a failed
// delivery, and what servers answer, repeats the address.
func describe(err error) string {
	refused, ok := errors.AsType[*mail.SendError](err)
	if !ok {
		return err.Error()
	}
	text := refused.Reason.String()
	if code := refused.ErrorCode(); code != 0 {
		text += fmt.Sprintf(": %d %s", code, refused.EnhancedStatusCode())
	}
	return strings.TrimSpace(text)
}
