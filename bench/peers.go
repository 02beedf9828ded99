package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/storage"
	"github.com/ory/fosite/token/hmac"
)

// verifyJWT verifies an HS256 token the way golang-jwt's documentation begins,
// and looks for a scope.
func verifyJWT(b *testing.B) {
	key := []byte("0123456789abcdef0123456789abcdef")
	tokens := make([]string, Tokens)
	for i := range tokens {
		var err error
		tokens[i], err = jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"iss":   "acme",
			"aud":   "api",
			"sub":   fmt.Sprintf("user-%d", i),
			"jti":   fmt.Sprintf("%022d", i),
			"iat":   time.Now().Unix(),
			"exp":   time.Now().Add(time.Hour).Unix(),
			"scope": strings.Join(scopes(), " "),
		}).SignedString(key)
		if err != nil {
			b.Fatal(err)
		}
	}
	keyFunc := func(*jwt.Token) (any, error) { return key, nil }
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		token, err := jwt.Parse(tokens[i], keyFunc, jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer("acme"), jwt.WithAudience("api"))
		if err != nil {
			b.Fatal(err)
		}
		scope, _ := token.Claims.(jwt.MapClaims)["scope"].(string)
		if !slices.Contains(strings.Fields(scope), "area5:view") {
			b.Fatal("refused")
		}
		if i++; i == len(tokens) {
			i = 0
		}
	}
}

// introspectFosite introspects an opaque access token of ory/fosite in its
// memory store, with a scope.
func introspectFosite(b *testing.B) {
	ctx := context.Background()
	config := &fosite.Config{
		GlobalSecret:                  []byte("0123456789abcdef0123456789abcdef"),
		DisableRefreshTokenValidation: true,
	}
	strategy := oauth2.NewHMACSHAStrategy(&hmac.HMACStrategy{Config: config}, config)
	store := storage.NewMemoryStore()
	config.TokenIntrospectionHandlers.Append(&oauth2.CoreValidator{CoreStrategy: strategy, CoreStorage: store, Config: config})
	provider := fosite.NewOAuth2Provider(store, config)
	tokens := make([]string, Tokens)
	for i := range tokens {
		req := fosite.NewRequest()
		req.Client = &fosite.DefaultClient{ID: "client"}
		req.GrantedScope = scopes()
		req.Session = &fosite.DefaultSession{
			Subject:   fmt.Sprintf("user-%d", i),
			ExpiresAt: map[fosite.TokenType]time.Time{fosite.AccessToken: time.Now().Add(time.Hour)},
		}
		token, signature, err := strategy.GenerateAccessToken(ctx, req)
		if err != nil {
			b.Fatal(err)
		}
		if err := store.CreateAccessTokenSession(ctx, signature, req); err != nil {
			b.Fatal(err)
		}
		tokens[i] = token
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, _, err := provider.IntrospectToken(ctx, tokens[i], fosite.AccessToken, new(fosite.DefaultSession), "area5:view"); err != nil {
			b.Fatal(err)
		}
		if i++; i == len(tokens) {
			i = 0
		}
	}
}
