package apitoken

import (
	"context"
	"errors"
	"strconv"
	"strings"
)

// RewrapRequest asks for one batch of [Service.Rewrap].
type RewrapRequest struct {
	// After is Rewrapped.Next of the batch before; "" = from the first token.
	After string
	// Limit is how many tokens are looked at, 1 to 500. 0 = 500.
	Limit int
}

// Rewrapped is what one batch of [Service.Rewrap] did.
type Rewrapped struct {
	Looked int    `json:"looked"` // tokens that were looked at
	Sealed int    `json:"sealed"` // of them, those that were sealed anew
	Failed int    `json:"failed"` // of them, those that could not be: as long as there are any, keep the older keys
	Next   string `json:"next"`   // for RewrapRequest.After; "" = there are no more
}

// Rewrap seals with the primary key of [Options].Keyring what checks the tokens of
// one batch: what an older key sealed, and the digests from before there was a
// keyring. When all batches are through and none failed, the older keys can be left
// out:
//
//	for req := (apitoken.RewrapRequest{}); ; {
//		batch, err := tokens.Rewrap(ctx, apitoken.DangerouslyCrossTenant("rewrap"), req)
//		// handle err, add up batch.Failed
//		if req.After = batch.Next; req.After == "" {
//			break
//		}
//	}
//
// It runs under load: each token is written by itself, only if nobody changed it
// meanwhile, and verified before, during and after (P11). Its version rises, so an
// IfVersion from before fails; no event is written. It may be stopped at any point,
// and continued there or from the beginning: what has the primary key is passed
// over. Digests of older credentials ([Record].Legacy) and public keys are not
// sealed.
//
// Only a [System] actor may call it, for its tenant; the one of
// [DangerouslyCrossTenant] for all. Errors: [ErrForbidden], [ErrInvalid] (fields
// "after", "limit", "Keyring"), [ErrUnavailable]; with the last, the batch so far is
// returned too, and may be repeated.
func (s *Service) Rewrap(ctx context.Context, actor Actor, req RewrapRequest) (Rewrapped, error) {
	var out Rewrapped
	query, err := s.rewrapQuery(ctx, actor, &req)
	if err != nil {
		return out, err
	}
	recs, err := s.store.List(ctx, query)
	if err != nil {
		return out, outage("store", err)
	}
	for _, rec := range recs {
		if err := ctx.Err(); err != nil {
			return out, outage("store", err)
		}
		out.Looked++
		if !s.staleSeal(rec) {
			continue
		}
		sealed, err := s.rewrapOne(ctx, actor, rec)
		switch {
		case err != nil:
			out.Failed++
			s.opts.Logger.WarnContext(ctx, "apitoken: rewrap", "token", string(rec.Token.ID), "error", err)
		case sealed:
			out.Sealed++
		}
	}
	if len(recs) == query.Limit {
		last := PositionOf(&recs[len(recs)-1].Token, query.Sort, query.Now)
		out.Next = strconv.FormatInt(last.Number, 10) + "." + string(last.ID)
	}
	return out, nil
}

func (s *Service) rewrapQuery(ctx context.Context, actor Actor, req *RewrapRequest) (StoreQuery, error) {
	query, err := s.query(ctx, actor)
	if err != nil {
		return query, err
	}
	if !actor.system {
		return query, mayNot("what is stored of tokens is the host's to seal anew: use a System actor")
	}
	var f faults
	if s.opts.Keyring == nil {
		f.add("Keyring", "is not set in Options: there is no key to seal with")
	}
	if req.Limit < 0 || req.Limit > maxPage {
		f.add("limit", "is %d: 1 to %d are possible, or 0 for %d", req.Limit, maxPage, maxPage)
	}
	query.Sort, query.Limit = SortCreated, req.Limit
	if query.Limit == 0 {
		query.Limit = maxPage
	}
	if req.After != "" {
		created, id, _ := strings.Cut(req.After, ".")
		number, err := strconv.ParseInt(created, 10, 64)
		if err != nil || !ID(id).Valid() {
			f.add("after", "cannot be read: take Rewrapped.Next of the batch before as it is")
		}
		query.After = &Position{Number: number, ID: ID(id)}
	}
	return query, f.join()
}

// staleSeal reports whether a record has something that another key than the
// primary one sealed, or none.
func (s *Service) staleSeal(rec *Record) bool {
	return s.staleSlot(&rec.Primary) || s.staleSlot(&rec.Previous)
}

func (s *Service) staleSlot(slot *Slot) bool {
	switch credentialOf(slot) {
	case CredentialBearer, CredentialSymmetric:
		return slot.KeyID != s.opts.Keyring.Primary()
	}
	return false
}

// rewrapOne seals a token anew; false = there was nothing left to do.
func (s *Service) rewrapOne(ctx context.Context, actor Actor, rec *Record) (sealed bool, err error) {
	_, err = s.change(ctx, actor, rec.Token.ID, changeOptions{verb: verbRewrap}, func(ch *change) error {
		sealed = false
		for _, slot := range []*Slot{&ch.rec.Primary, &ch.rec.Previous} {
			if !s.staleSlot(slot) {
				continue
			}
			blob, err := s.opened(ctx, &ch.rec.Token, slot)
			if err != nil {
				return err
			}
			*slot, err = s.sealed(ctx, &ch.rec.Token, Slot{Algorithm: slot.Algorithm, Prefix: slot.Prefix, Blob: blob})
			if err != nil {
				return err
			}
			sealed, ch.dirty = true, true
		}
		return nil
	})
	if errors.Is(err, ErrNotFound) {
		return false, nil // deleted meanwhile
	}
	return sealed, err
}
