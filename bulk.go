package apitoken

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"time"
)

// BulkAction is what [Service.Bulk] does to each token.
type BulkAction string

// The bulk actions.
const (
	BulkRevoke  BulkAction = "revoke"
	BulkDisable BulkAction = "disable"
)

// BulkRequest says which tokens to stop, and how. The conditions are joined by
// AND; at least one is required, so that an empty request is not everything.
type BulkRequest struct {
	Action BulkAction // required
	// Tenant is the actor's, spelled out to mean all of it; for a
	// [DangerouslyCrossTenant] actor, "" = every tenant.
	Tenant string
	Owner  string
	Kinds  []Kind
	// IssuedBefore: the day of the leak, or of the backup that was restored. Zero =
	// whenever issued, during the run too.
	IssuedBefore time.Time
	DryRun       bool   // only count what would be done
	Batch        int    // tokens in each batch, 1 to 500; 0 = 100
	Cursor       string // BulkProgress.Cursor, to go on from there; the other fields must be the same
	Reason       string // for the audit events
}

// BulkProgress is what became of one batch.
type BulkProgress struct {
	Changed   int `json:"changed"`   // stopped; in a dry run, those that would be
	Unchanged int `json:"unchanged"` // revoked or disabled already, or gone meanwhile
	// Skipped are those that cannot be stopped now, such as tokens of active agents
	// (S1.28).
	Skipped []BulkSkip `json:"skipped,omitempty"`
	// Failed are those the store, or a look-up, gave no answer for. A run from the
	// beginning tries them again.
	Failed []ID `json:"failed,omitempty"`
	// Cursor continues after this batch; "" = it was the last. Beside an error it
	// continues where the error struck, "" = from the beginning.
	Cursor string `json:"cursor,omitempty"`
}

// BulkSkip is a token that was left alone.
type BulkSkip struct {
	Token ID     `json:"token_id"`
	Why   string `json:"why"` // what stands in the way and what to do
}

const defaultBulk = 100

// Bulk revokes or disables many tokens: the morning after a leak, or after a
// backup was restored that brought revoked tokens back. It goes through those the
// actor may see, oldest first, and yields after every batch; each token is
// changed as by Revoke or Disable, by itself, with its own event, decided from
// what it is at that moment. So it may run beside anything else, be stopped and
// resumed from a cursor, and be repeated: what is done already is left as it is.
//
// The last pair carries the error, if any: [ErrInvalid]; [ErrForbidden] when the
// actor may not, or no longer; [ErrUnavailable] when the store does not answer or
// nothing of a batch could be done: go on later from the cursor.
func (s *Service) Bulk(ctx context.Context, actor Actor, req BulkRequest) iter.Seq2[BulkProgress, error] {
	return func(yield func(BulkProgress, error) bool) {
		after, err := req.check(actor)
		if err != nil {
			yield(BulkProgress{}, err)
			return
		}
		for {
			b := bulkBatch{s: s, actor: actor, req: &req, after: after}
			done, err := b.run(ctx)
			if b.after != nil && !done {
				b.Cursor = req.cursor(b.after)
			}
			if !yield(b.BulkProgress, err) || done || err != nil {
				return
			}
			after = b.after
		}
	}
}

// check finds what is wrong with the request, and where it continues.
func (req *BulkRequest) check(actor Actor) (*Position, error) {
	if err := actor.check(); err != nil {
		return nil, err
	}
	var f faults
	if req.Action != BulkRevoke && req.Action != BulkDisable {
		f.add("action", "%q is unknown: use BulkRevoke or BulkDisable", clip(string(req.Action)))
	}
	if req.Tenant == "" && req.Owner == "" && len(req.Kinds) == 0 && req.IssuedBefore.IsZero() {
		f.add("tenant", "is empty, and so is every other condition: name the tenant to mean all of its tokens")
	}
	if req.Tenant != "" && req.Tenant != actor.Tenant && !actor.crossTenant {
		f.add("tenant", "is not the actor's own: leave it empty")
	}
	if req.Batch == 0 {
		req.Batch = defaultBulk
	}
	if req.Batch < 1 || req.Batch > maxPage {
		f.add("batch", "is %d: 1 to %d are possible", req.Batch, maxPage)
	}
	f.text("reason", req.Reason, maxReason, true)
	after, err := req.position()
	f.addErr(err)
	return after, f.join()
}

// bulkBatch is one batch at work.
type bulkBatch struct {
	BulkProgress
	s     *Service
	actor Actor
	req   *BulkRequest
	after *Position // of the last token that is done with
}

// run does the batch and reports whether it was the last.
func (b *bulkBatch) run(ctx context.Context) (done bool, err error) {
	begin := b.after
	query, err := b.s.query(ctx, b.actor)
	if err != nil {
		return false, err
	}
	if b.req.Tenant != "" {
		query.Tenant = b.req.Tenant
	}
	query.OnlyKinds, query.Owner = b.req.Kinds, b.req.Owner
	// Nothing changes this order, and what is issued meanwhile comes last.
	query.Sort, query.After, query.Limit = SortCreated, b.after, b.req.Batch
	recs, err := b.s.store.List(ctx, query)
	if err != nil {
		return false, outage("store", err)
	}
	var failure error
	for _, rec := range recs {
		t := &rec.Token
		if !b.req.IssuedBefore.IsZero() && !t.CreatedAt.Before(b.req.IssuedBefore) {
			done = true
			break
		}
		if err := ctx.Err(); err != nil {
			return false, outage("store", err)
		}
		switch err := b.one(ctx, t.ID); {
		case errors.Is(err, ErrUnavailable) && ctx.Err() == nil:
			b.Failed = append(b.Failed, t.ID)
			failure = err
		case err != nil:
			return false, err
		}
		at := PositionOf(t, query.Sort, query.Now)
		b.after = &at
	}
	if failure != nil && b.Changed+b.Unchanged+len(b.Skipped) == 0 {
		b.after = begin
		return false, failure
	}
	return done || len(recs) < b.req.Batch, nil
}

// errWould ends a dry run's change before it is written.
var errWould = errors.New("apitoken: a dry run changes nothing")

// one stops one token. The error is an outage, or one that ends the run.
func (b *bulkBatch) one(ctx context.Context, id ID) error {
	verb, stop, stopped := verbRevoke, (*change).revoke, StateRevoked
	if b.req.Action == BulkDisable {
		verb, stop, stopped = verbDisable, (*change).disable, StateDisabled
	}
	before := State("")
	_, err := b.s.change(ctx, b.actor, id, changeOptions{verb: verb, reason: b.req.Reason}, func(ch *change) (err error) {
		if before = ch.rec.Token.State; before != StateRevoked { // which is more than disabled
			err = stop(ch, ctx)
		}
		if err == nil && b.req.DryRun {
			return errWould
		}
		return err
	})
	state, unfit := errors.AsType[*StateError](err)
	switch {
	case errors.Is(err, ErrNotFound):
		b.Unchanged++
	case unfit:
		b.Skipped = append(b.Skipped, BulkSkip{id, state.Why})
	case err != nil && err != errWould:
		return err
	case before == stopped || before == StateRevoked:
		b.Unchanged++
	default:
		b.Changed++
	}
	return nil
}

// bulkCursor is where a batch ended. As that of a list it gives no access.
type bulkCursor struct {
	After   Position `json:"a"`
	Request []byte   `json:"r"`
}

// sum is of what two calls must have in common for one to continue the other: a
// dry run's cursor would let a real run pass over tokens.
func (req *BulkRequest) sum() []byte {
	return sumOf(req.Action, req.Tenant, req.Owner, req.Kinds, req.IssuedBefore.UTC(), req.DryRun)[:6]
}

func (req *BulkRequest) cursor(after *Position) string {
	b, _ := json.Marshal(bulkCursor{*after, req.sum()})
	return base64.RawURLEncoding.EncodeToString(b)
}

// position reads the request's cursor, nil = from the beginning.
func (req *BulkRequest) position() (*Position, error) {
	if req.Cursor == "" {
		return nil, nil
	}
	var c bulkCursor
	b, err := base64.RawURLEncoding.DecodeString(req.Cursor)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil || len(req.Cursor) > 4096 {
		return nil, fieldErr("cursor", "cannot be read: take BulkProgress.Cursor as it is")
	}
	if !slices.Equal(c.Request, req.sum()) {
		return nil, fieldErr("cursor", "belongs to another request: repeat that one, or begin without a cursor")
	}
	return &c.After, nil
}
