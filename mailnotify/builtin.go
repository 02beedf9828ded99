package mailnotify

import (
	"time"

	"github.com/tokenry/apitoken"
)

// builtin is the mail for events and languages that the host has none for. Its
// subject has nothing in it that users typed.
var builtin = Template{
	Subject: `{{with .Product}}{{.}}: {{end}}{{(what .).Subject}}`,
	Text: `{{with .UserName}}Hello {{.}},

{{end}}{{with what .}}{{.Sentence}}{{with .Advice}}

{{.}}{{end}}{{end}}

{{if .TokenName}}Token:    "{{.TokenName}}"
{{end}}{{if .TokenID}}ID:       {{.TokenID}}
{{end}}{{if .Kind}}Kind:     {{.Kind}}
{{end}}{{if .Owner.ID}}Owner:    {{.Owner.Type}} {{.Owner.ID}}
{{end}}{{if .Actor.ID}}Done by:  {{.Actor.Type}} {{.Actor.ID}}
{{end}}{{if .Reason}}Reason:   "{{.Reason}}"
{{end}}When:     {{date .Time}}
{{if not .ExpiresAt.IsZero}}Expires:  {{date .ExpiresAt}}
{{end}}Tenant:   {{.Tenant}}
`,
	HTML: `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{(what .).Subject}}</title></head>
<body style="font-family: sans-serif">
{{with .UserName}}<p>Hello {{.}},</p>
{{end}}{{with what .}}<p>{{.Sentence}}</p>
{{with .Advice}}<p>{{.}}</p>
{{end}}{{end}}<table>
{{if .TokenName}}<tr><td>Token</td><td>“{{.TokenName}}”</td></tr>
{{end}}{{if .TokenID}}<tr><td>ID</td><td><code>{{.TokenID}}</code></td></tr>
{{end}}{{if .Kind}}<tr><td>Kind</td><td>{{.Kind}}</td></tr>
{{end}}{{if .Owner.ID}}<tr><td>Owner</td><td>{{.Owner.Type}} {{.Owner.ID}}</td></tr>
{{end}}{{if .Actor.ID}}<tr><td>Done by</td><td>{{.Actor.Type}} {{.Actor.ID}}</td></tr>
{{end}}{{if .Reason}}<tr><td>Reason</td><td>“{{.Reason}}”</td></tr>
{{end}}<tr><td>When</td><td>{{date .Time}}</td></tr>
{{if not .ExpiresAt.IsZero}}<tr><td>Expires</td><td>{{date .ExpiresAt}}</td></tr>
{{end}}<tr><td>Tenant</td><td>{{.Tenant}}</td></tr>
</table>
</body></html>
`,
}

// wording says what happened.
type wording struct{ Subject, Sentence, Advice string }

const notYou = "If nobody of yours did this, revoke the token and look at its history."

var wordings = map[apitoken.EventType]wording{
	apitoken.EventCreated:  {"API token created", "An API token was created.", notYou},
	apitoken.EventEdited:   {"API token edited", "An API token was changed.", notYou},
	apitoken.EventExtended: {"API token expiry changed", "The expiry of an API token was changed.", notYou},
	apitoken.EventDisabled: {"API token disabled", "An API token was disabled. It no longer works until it is enabled again.", ""},
	apitoken.EventEnabled:  {"API token enabled", "An API token was enabled and works again.", notYou},
	apitoken.EventRotated:  {"API token rotated", "An API token was given a new value.", notYou},
	apitoken.EventRevoked:  {"API token revoked", "An API token was revoked. It no longer works, and cannot be brought back.", "If something still needs it, create a new one."},
	apitoken.EventDeleted:  {"API token deleted", "An API token was deleted. It no longer works.", ""},
	apitoken.EventExpired:  {"API token expired", "An API token has expired. It no longer works.", "If something still needs it, create a new one."},
	apitoken.EventReused: {"API token used with an old value", "A value of an API token that was replaced by a rotation has been used.",
		"Find who still has the old value. If you do not know, it may have leaked."},
	apitoken.EventOrigins: {"Trusted origins changed", "The browser origins that may use your API tokens were changed.", ""},
}

// functions are what templates may call; what is for the built-in one.
var functions = map[string]any{
	"date": func(at time.Time) string {
		if at.IsZero() {
			return ""
		}
		return at.UTC().Format("2006-01-02 15:04 UTC")
	},
	"what": func(d *Data) wording {
		if w, ok := wordings[d.Type]; ok {
			return w
		}
		return wording{Subject: d.Message, Sentence: d.Message}
	},
}

var sampleData = newData(&apitoken.Event{
	ID: "id.1.0", Type: apitoken.EventCreated, Message: "API Token created", Category: apitoken.EventCategory,
	Time: time.Unix(1, 0), DueAt: time.Unix(1, 0), Tenant: "tenant", Actor: apitoken.Party{Type: apitoken.PartyUser, ID: "user"},
	Target:  apitoken.Target{Token: "id", Name: "name", Kind: "kind", Owner: apitoken.Party{Type: apitoken.PartyUser, ID: "owner"}},
	Version: 1, Cause: apitoken.CauseByHand, Reason: "reason", Changed: []string{"name"}, ExpiresAt: time.Unix(2, 0),
	Creator: "user", RequestID: "request",
}, "product", "user", Contact{Name: "name", Language: "en"})
