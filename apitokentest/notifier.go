package apitokentest

import (
	"context"
	"slices"
	"sync"

	"github.com/tokenry/apitoken"
)

// Notifier is an [apitoken.Notifier] that keeps what it is told. The zero value
// is ready; it is safe for concurrent use.
type Notifier struct {
	mu     sync.Mutex
	outage error
	told   []apitoken.Notification
}

// Notify implements [apitoken.Notifier].
func (n *Notifier) Notify(ctx context.Context, notification apitoken.Notification) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if n.outage != nil {
		return n.outage
	}
	n.told = append(n.told, notification)
	return nil
}

// Fail makes every Notify answer err, until Fail(nil).
func (n *Notifier) Fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.outage = err
}

// Told returns what the Notifier was told, in that order.
func (n *Notifier) Told() []apitoken.Notification {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.told)
}

// Take returns what it was told since the last Take, and forgets it.
func (n *Notifier) Take() []apitoken.Notification {
	n.mu.Lock()
	defer n.mu.Unlock()
	told := n.told
	n.told = nil
	return told
}
