package apitoken_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/memstore"
)

// A commit hook or a log filter needs no store: form and checksum tell.
func ExampleScan() {
	line := `GET /v1/me?access_token=acme_0123456789ABCDEFGHIJKL` + strings.Repeat("x", 43) + `0VRTth&page=1`
	var out strings.Builder
	from := 0
	for m := range apitoken.Scan(line) {
		out.WriteString(line[from:max(from, m.Start)] + m.Hint())
		from = m.End
	}
	out.WriteString(line[from:])
	fmt.Println(out.String())
	// Output: GET /v1/me?access_token=acme_0123…&page=1
}

// Somebody found a token in a ticket.
func ExampleService_ReportLeak() {
	ctx := context.Background()
	tokens, err := apitoken.New(memstore.New(), apitoken.Options{Prefix: "acme"})
	if err != nil {
		panic(err)
	}
	ann := apitoken.Actor{ID: "ann", Tenant: "acme"}
	issued, err := tokens.Issue(ctx, ann, apitoken.IssueRequest{Name: "ci"})
	if err != nil {
		panic(err)
	}
	ticket := "It says 401:\n  curl -H 'Authorization: Bearer " + issued.Secret.Reveal() + "' https://api.acme.example"

	for m := range tokens.Scan(ticket) {
		leak, err := tokens.ReportLeak(ctx, apitoken.System("helpdesk", "acme"), apitoken.LeakReport{
			Value: apitoken.NewSecret(ticket[m.Start:m.End]),
			Where: "ticket 4711",
		})
		if err != nil {
			panic(err)
		}
		fmt.Println(leak.Token.Name, leak.Token.State, leak.Token.Cause, leak.Token.Reason)
	}
	_, err = tokens.Verify(ctx, apitoken.VerifyRequest{Token: issued.Secret.Reveal()})
	fmt.Println(apitoken.ReasonOf(err))
	// Output:
	// ci revoked leak ticket 4711
	// revoked
}

// A backup was restored: whatever was issued before it may have been revoked
// since, and works again. Keep each cursor, and a run that was cut short goes on
// from there.
func ExampleService_Bulk() {
	ctx := context.Background()
	tokens, err := apitoken.New(memstore.New(), apitoken.Options{})
	if err != nil {
		panic(err)
	}
	for _, tenant := range []string{"acme", "rival", "acme"} {
		if _, err := tokens.Issue(ctx, apitoken.Actor{ID: "ann", Tenant: tenant}, apitoken.IssueRequest{Name: "ci"}); err != nil {
			panic(err)
		}
	}
	req := apitoken.BulkRequest{
		Action:       apitoken.BulkRevoke,
		IssuedBefore: time.Now().Add(time.Minute),
		Reason:       "restored the backup of 1 March",
		Batch:        2,
	}
	for progress, err := range tokens.Bulk(ctx, apitoken.DangerouslyCrossTenant("operator"), req) {
		if err != nil {
			fmt.Println("go on later from", progress.Cursor, err)
			break
		}
		fmt.Println(progress.Changed, "revoked,", len(progress.Skipped), "left alone, more:", progress.Cursor != "")
	}
	// Output:
	// 2 revoked, 0 left alone, more: true
	// 1 revoked, 0 left alone, more: false
}
