package mailnotify

import (
	"cmp"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"strings"
	texttemplate "text/template"
	"time"

	"github.com/tokenry/apitoken"
)

// Template is the texts of a mail.
//
// For a user with language de-AT the first of these is taken: event and de-AT,
// any event and de-AT, event and de, any event and de, event and any language,
// any event and any language, built-in.
type Template struct {
	Event    apitoken.EventType // "" = every event without one of its own
	Language string             // "de", "pt-BR", whatever the case; "" = any language without one of its own

	// Subject and Text are of text/template, HTML of html/template; all see [Data].
	// Subject and Text are required; without HTML the mail is text alone. The
	// function date writes an instant as 2027-03-01 12:00 UTC.
	Subject, Text, HTML string
}

// Data is what templates see. Texts are one line without control characters, of
// at most 500 characters.
type Data struct {
	Product string // [Options].Product
	Tenant  string

	User     string // the recipient's ID
	UserName string // [Contact].Name
	Language string // [Contact].Language

	Type      apitoken.EventType
	Message   string // the event's display message
	Cause     apitoken.Cause
	Reason    string // what who did it gave as reason
	Changed   []string
	Time      time.Time
	DueAt     time.Time // zero unless time did it
	RequestID string
	Address   string // from which it was done

	TokenID   apitoken.ID // "" for events of a tenant
	TokenName string
	Kind      apitoken.Kind
	ExpiresAt time.Time // zero = never
	Owner     apitoken.Party
	Actor     apitoken.Party
	Creator   string
}

// maxText bounds a text in characters.
const maxText = 500

// newData makes every text of e fit to be read: users typed some, and who reads
// believes the host.
func newData(e *apitoken.Event, product, user string, c Contact) *Data {
	d := &Data{
		Product: line(product), Tenant: line(e.Tenant), User: line(user), UserName: line(c.Name), Language: line(c.Language),
		Type: e.Type, Message: line(e.Message), Cause: apitoken.Cause(line(string(e.Cause))), Reason: line(e.Reason),
		Time: e.Time, DueAt: e.DueAt, RequestID: line(e.RequestID),
		TokenID: apitoken.ID(line(string(e.Target.Token))), TokenName: line(e.Target.Name), Kind: apitoken.Kind(line(string(e.Target.Kind))),
		ExpiresAt: e.ExpiresAt, Owner: party(e.Target.Owner), Actor: party(e.Actor), Creator: line(e.Creator),
	}
	for _, field := range e.Changed {
		d.Changed = append(d.Changed, line(field))
	}
	if e.Address.IsValid() {
		d.Address = e.Address.String()
	}
	return d
}

func party(p apitoken.Party) apitoken.Party {
	return apitoken.Party{Type: apitoken.PartyType(line(string(p.Type))), ID: line(p.ID)}
}

// line makes s one line without control characters, of at most maxText
// characters.
func line(s string) string {
	s = strings.Map(func(r rune) rune {
		if isControl(r) {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if runes := []rune(s); len(runes) > maxText {
		s = string(runes[:maxText-1]) + "…"
	}
	return s
}

type choice struct {
	event    apitoken.EventType
	language string
}

type compiled struct {
	subject, text *texttemplate.Template
	html          *htmltemplate.Template // nil = none
}

type rendered struct{ subject, text, html string }

// compileAll parses and tries the host's templates, and adds the built-in one.
func compileAll(templates []Template) (map[choice]*compiled, error) {
	all := make(map[choice]*compiled)
	var errs []error
	for i, t := range templates {
		bad := func(part, problem string) {
			errs = append(errs, &apitoken.FieldError{Field: fmt.Sprintf("Templates[%d]%s", i, part), Problem: problem})
		}
		c, part, err := compile(t)
		if err != nil {
			bad("."+part, err.Error())
			continue
		}
		which := choice{t.Event, tag(t.Language)}
		if _, twice := all[which]; twice {
			bad("", fmt.Sprintf("is the second for event %q and language %q", which.event, which.language))
		}
		all[which] = c
	}
	if _, ok := all[choice{}]; !ok {
		c, part, err := compile(builtin)
		if err != nil {
			errs = append(errs, fmt.Errorf("mailnotify: the built-in %s: %w", part, err))
		}
		all[choice{}] = c
	}
	return all, errors.Join(errs...)
}

// compile parses a template and runs it once on an event that has everything and
// once on one that has nothing, so that a misspelled field is found here and not
// by the first token that expires. It names the part that is wrong.
func compile(t Template) (c *compiled, part string, err error) {
	c = &compiled{}
	if c.subject, err = texttemplate.New("subject").Funcs(functions).Parse(t.Subject); err != nil {
		return nil, "Subject", err
	}
	if c.text, err = texttemplate.New("text").Funcs(functions).Parse(t.Text); err != nil {
		return nil, "Text", err
	}
	if t.HTML != "" {
		if c.html, err = htmltemplate.New("html").Funcs(functions).Parse(t.HTML); err != nil {
			return nil, "HTML", err
		}
	}
	for _, sample := range []*Data{sampleData, {}} {
		out, err := c.render(sample)
		switch {
		case err != nil:
			return nil, partOf(err), err
		case sample == sampleData && out.subject == "":
			return nil, "Subject", errors.New("is empty: write what the mail is about")
		case sample == sampleData && strings.TrimSpace(out.text) == "":
			return nil, "Text", errors.New("is empty: not everybody reads HTML")
		}
	}
	return c, "", nil
}

// partError says which part of a mail a template failed in.
type partError struct {
	part string
	err  error
}

func (e *partError) Error() string { return "writing the mail: " + e.err.Error() }
func (e *partError) Unwrap() error { return e.err }

func partOf(err error) string {
	if e, ok := errors.AsType[*partError](err); ok {
		return e.part
	}
	return ""
}

func (c *compiled) render(d *Data) (rendered, error) {
	var subject, text, html strings.Builder
	if err := c.subject.Execute(&subject, d); err != nil {
		return rendered{}, &partError{"Subject", err}
	}
	if err := c.text.Execute(&text, d); err != nil {
		return rendered{}, &partError{"Text", err}
	}
	if c.html != nil {
		if err := c.html.Execute(&html, d); err != nil {
			return rendered{}, &partError{"HTML", err}
		}
	}
	return rendered{line(subject.String()), text.String(), html.String()}, nil
}

// pick returns the template for an event and a language.
func (n *Notifier) pick(event apitoken.EventType, language string) *compiled {
	for language = tag(language); ; {
		if c := cmp.Or(n.templates[choice{event, language}], n.templates[choice{"", language}]); c != nil {
			return c
		}
		language = language[:max(0, strings.LastIndexByte(language, '-'))]
	}
}

// tag writes a language tag in the one way in which it is looked up.
func tag(language string) string { return strings.ToLower(strings.ReplaceAll(language, "_", "-")) }
