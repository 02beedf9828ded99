package httpauth_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
	"github.com/tokenry/apitoken/memstore"
)

// GitHub tells of tokens it finds in public repositories. The host fetches
// GitHub's keys with its own client.
func ExampleAlerts() {
	tokens, err := apitoken.New(memstore.New(), apitoken.Options{Prefix: "acme"})
	if err != nil {
		panic(err)
	}
	fetch := func(ctx context.Context) ([]byte, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.github.com/meta/public_keys/secret_scanning", nil)
		if err != nil {
			return nil, err
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("the keys of GitHub: %s", resp.Status)
		}
		return io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	}
	mux := http.NewServeMux()
	mux.Handle("/leaks/github", httpauth.Alerts(tokens, httpauth.AlertOptions{
		Keys:  httpauth.NewKeyList(fetch, nil),
		Actor: apitoken.DangerouslyCrossTenant("github secret scanning"),
	}))

	// Without GitHub's signature nobody reports anything.
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/leaks/github", strings.NewReader(`[{"token":"acme_…"}]`)))
	fmt.Println(w.Code, w.Body)
	// Output: 403 {"title":"Forbidden","status":403,"detail":"the signature was not accepted","reason":"signature"}
}
