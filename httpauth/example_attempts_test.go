package httpauth_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
)

// Whoever presents two bad tokens within a minute waits.
func ExampleFailedAttempts() {
	tokens, _ := newTokens(apitoken.Options{}, apitoken.IssueRequest{})
	now := time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC)
	auth := httpauth.New(tokens, httpauth.Options{
		FailedAttempts: httpauth.FailedAttempts{Limit: 2, Window: time.Minute},
		Clock:          apitoken.ClockFunc(func() time.Time { return now }),
	})
	h := auth.Middleware(http.NotFoundHandler())
	for range 3 {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Bearer acme_guess")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Printf("%d %q\n", w.Code, w.Header().Get("Retry-After"))
	}
	// Output:
	// 401 ""
	// 401 ""
	// 429 "30"
}

// Older clients present an ID and secret, newer ones a token in a header that the
// product had before (S3.17, S3.19).
func ExampleOptions_headers() {
	tokens, token := newTokens(apitoken.Options{}, apitoken.IssueRequest{})
	auth := httpauth.New(tokens, httpauth.Options{
		Headers:            []string{"X-WallarmApi-Token"},
		LegacyIDHeader:     "X-WallarmApi-UUID",
		LegacySecretHeader: "X-WallarmApi-Secret",
	})
	h := auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	send := func(headers map[string]string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		for name, value := range headers {
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}

	send(map[string]string{"X-WallarmApi-Token": token})
	send(map[string]string{"X-WallarmApi-Token": token, "Authorization": "Bearer " + token}) // two
	send(map[string]string{"X-WallarmApi-UUID": "5f1c2f0a"})                                 // half of one
	// Output:
	// 204
	// 400
	// 400
}
