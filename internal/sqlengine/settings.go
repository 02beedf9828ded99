package sqlengine

import (
	"context"
	"fmt"
	"time"

	"github.com/tokenry/apitoken"
)

// Settings implements [apitoken.Store].
func (e *Engine) Settings(ctx context.Context, tenant string) (apitoken.Settings, error) {
	c, err := e.reader(ctx)
	if err != nil {
		return apitoken.Settings{}, err
	}
	set := apitoken.Settings{Tenant: tenant}
	if !storable(tenant, maxIdentifier) {
		return set, ctx.Err()
	}
	_, err = e.first(ctx, c, e.st.settings, []any{tenant}, &set.Version, (*texts)(&set.Origins), (*instant)(&set.UpdatedAt))
	if err != nil {
		return apitoken.Settings{}, e.outage("settings", err)
	}
	return set, nil
}

// SwapSettings implements [apitoken.Store].
func (e *Engine) SwapSettings(ctx context.Context, set apitoken.Settings, events []apitoken.Event) error {
	if !storable(set.Tenant, maxIdentifier) {
		return e.outage("swap settings", fmt.Errorf("the tenant is longer than %d bytes, not UTF-8, or has a zero byte", maxIdentifier))
	}
	lines, err := e.lines(events)
	if err != nil {
		return e.outage("swap settings", err)
	}
	args := []any{set.Version, encodeList(set.Origins), micros(set.UpdatedAt), set.Tenant}
	err = e.attempt(ctx, func(c Conn) error {
		n := int64(1)
		if set.Version == 1 {
			if _, err := c.Exec(ctx, e.st.addSettings, args...); err != nil {
				return err
			}
		} else if n, err = c.Exec(ctx, e.st.swapSettings, append(args[:4:4], set.Version-1)...); err != nil {
			return err
		}
		if n == 0 {
			return apitoken.ErrConflict
		}
		return lines(ctx, c)
	})
	if faultOf(err) == faultDuplicate {
		return apitoken.ErrConflict // somebody was first
	}
	return e.told("swap settings", err)
}

// Remember implements [apitoken.ReplayGuard]. A key stays known until Forget, even
// past its instant: the guard reads no clock.
func (e *Engine) Remember(ctx context.Context, use apitoken.SignedUse) (fresh bool, err error) {
	err = e.attempt(ctx, func(c Conn) error {
		_, err := c.Exec(ctx, e.st.remember, use.Key[:], micros(use.Until))
		return err
	})
	if faultOf(err) == faultDuplicate {
		return false, nil
	}
	return err == nil, e.told("remember", err)
}

// forgetBatch bounds how many rows one statement deletes, so that no lock is held
// long.
const forgetBatch = 1000

// Forget deletes what was to be remembered until before at most, and returns how
// much that was, also with an error that came half way.
func (e *Engine) Forget(ctx context.Context, before time.Time) (n int64, err error) {
	for {
		var batch int64
		err := e.write(ctx, "forget", func(c Conn) (err error) {
			batch, err = c.Exec(ctx, e.st.forget, micros(before), int64(forgetBatch))
			return err
		})
		if err != nil {
			return n, err
		}
		n += batch
		if batch < forgetBatch {
			return n, nil
		}
	}
}
