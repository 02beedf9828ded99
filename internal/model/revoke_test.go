package model_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

// P1, P3: once a call that stops a token returned, no Verify that begins later
// succeeds, on any node over a store that shares at once, while the token is used,
// flushed, swept and edited all around.
func TestNothingOpensWhatWasStopped(t *testing.T) {
	t.Parallel()
	admin := apitoken.Actor{ID: "ann", Tenant: apitokentest.Tenant}
	for name, stop := range map[string]func(context.Context, *apitoken.Service, apitoken.ID) error{
		"revoke": func(ctx context.Context, s *apitoken.Service, id apitoken.ID) error {
			return s.Revoke(ctx, admin, id, "")
		},
		"disable": func(ctx context.Context, s *apitoken.Service, id apitoken.ID) error {
			_, err := s.Disable(ctx, admin, id, "")
			return err
		},
		"delete": func(ctx context.Context, s *apitoken.Service, id apitoken.ID) error {
			return s.Delete(ctx, admin, id, "")
		},
		"rotate": func(ctx context.Context, s *apitoken.Service, id apitoken.ID) error {
			_, err := s.Rotate(ctx, admin, id, apitoken.RotateRequest{IdempotencyKey: "stop"})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := apitokentest.New(t, apitoken.Options{Catalog: catalog})
			services := [nodes]*apitoken.Service{env.Service, env.Node(), env.Node()}
			var before, after atomic.Int64
			for range 300 {
				issued := env.Issue(apitoken.IssueRequest{Name: "one"})
				id, req := issued.Token.ID, apitoken.VerifyRequest{Token: issued.Secret.Reveal()}
				var stopped atomic.Bool
				var group, ready sync.WaitGroup
				ready.Add(nodes)
				for i, s := range services {
					group.Go(func() {
						_, err := s.Verify(t.Context(), req)
						ready.Done()
						if err != nil {
							t.Errorf("node %d refused a good token: %v", i, err)
						}
						for late := 0; late < 3; {
							runtime.Gosched() // there are more goroutines than processors
							begunLate := stopped.Load()
							_, err := s.Verify(t.Context(), req)
							switch {
							case begunLate && err == nil:
								t.Errorf("node %d let a token in after %s had returned", i, name)
							case begunLate:
								late++
								after.Add(1)
							case err == nil:
								before.Add(1)
							}
						}
					})
					group.Go(func() { // what else writes
						for !stopped.Load() {
							runtime.Gosched()
							_ = s.Flush(t.Context())
							_, _ = s.Sweep(t.Context())
						}
						_ = s.Flush(t.Context())
					})
				}
				ready.Wait()
				edited := "edited"
				_, err := services[1].Edit(t.Context(), admin, id, apitoken.EditRequest{Name: &edited})
				require.NoError(t, err)
				err = stop(t.Context(), services[0], id)
				stopped.Store(true)
				group.Wait()
				require.NoError(t, err)
				for _, s := range services {
					_, err := s.Verify(t.Context(), req)
					require.ErrorIs(t, err, apitoken.ErrUnauthenticated)
				}
			}
			t.Logf("%d requests before, %d after", before.Load(), after.Load())
		})
	}
}
