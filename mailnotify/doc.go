// Package mailnotify is an [apitoken.Notifier] that mails each recipient of an
// event, once, as text and HTML, in the recipient's language.
//
//	mails, err := mailnotify.New(mailnotify.Options{
//		Host: "smtp.example.com", Username: "acme", Password: password,
//		From: "Acme <tokens@example.com>", Users: users,
//	})
//	tokens, err := apitoken.New(store, apitoken.Options{Notifier: mails, Admins: admins, …})
//
// Who is told of which event is the policy's to say ([apitoken.Policy].Notify). A
// notification names users by their IDs; [Users], which the host implements, knows
// where and in which language each is written to.
//
// # Delivery
//
// Each recipient has a mail of their own, so no address is shown to another. If
// some cannot be sent, Notify returns an error for each, the outbox brings the
// event back later, and those who have theirs are left out: as long as the process
// remembers, which is for the 10,000 mails sent last. After that, after a
// restart, on another node, and when the connection breaks between the last line
// of a mail and the server's answer, a person may get it twice: delivery is at
// least once. All copies have the same Message-ID, made from the event's ID and
// the user's, by which mail systems know them as one.
//
// # Security
//
// TLS is required, by STARTTLS or from the first byte ([Options].ImplicitTLS), and
// the server's certificate is checked; the password is sent under it only.
//
// What tokens are called and what reasons people give is text of users, who may
// want a mail in your name to say something of theirs. So texts reach templates
// as one line without control characters, HTML is escaped by its context
// (html/template), a subject is one line however it was written, and the built-in
// subjects hold nothing that users typed. Header fields are set from parsed
// addresses only. No event holds a secret, so neither does a mail. Mails say
// 'Auto-Submitted: auto-generated' (RFC 3834), so that nobody's absence answers.
//
// # Texts
//
// English texts for every event are built in. [Options].Templates replaces them,
// by event and by language; [Data] is what templates see.
package mailnotify
