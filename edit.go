package apitoken

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// Edit changes what may be changed about a token: name, description, address
// list, origins, share, metadata, and permissions where the kind allows it (S2.6).
// A token is changed by an explicit edit only (S2.28); one that is expired or
// revoked is not. Every wrong field is named, and then nothing is stored.
//
// Errors: [ErrNotFound], [ErrForbidden], [ErrInvalid], [ErrConflict]
// ([ErrVersion], [StateError]), [ErrUnavailable].
func (s *Service) Edit(ctx context.Context, actor Actor, id ID, req EditRequest) (View, error) {
	return s.changed(ctx, actor, id, changeOptions{verbEdit, req.IfVersion, req.Reason}, func(ch *change) error {
		if err := ch.editable(verbEdit); err != nil {
			return err
		}
		if req.Permissions != nil || req.Role != nil {
			if err := ch.withinOwner(ctx); err != nil {
				return err
			}
		}
		var f faults
		edited := ch.edit(&req, &f)
		if err := f.join(); err != nil {
			return err
		}
		if len(edited) > 0 {
			ch.note(EventEdited, "", edited...)
		}
		return nil
	})
}

// edit applies req to the record and returns the names of the fields that
// changed.
func (ch *change) edit(req *EditRequest, f *faults) (edited []string) {
	t := &ch.rec.Token
	did := func(field string, differs bool) {
		if differs {
			edited = append(edited, field)
		}
	}
	if req.Name != nil {
		f.name(*req.Name)
		did("name", t.Name != *req.Name)
		t.Name = *req.Name
	}
	if req.Description != nil {
		f.text("description", *req.Description, maxDescription, true)
		did("description", t.Description != *req.Description)
		t.Description = *req.Description
	}
	if req.Share != nil {
		f.share(*req.Share)
		did("share", t.Share != *req.Share)
		t.Share = *req.Share
	}
	if req.Metadata != nil {
		f.metadata(req.Metadata)
		did("metadata", !maps.Equal(t.Metadata, req.Metadata))
		t.Metadata = maps.Clone(req.Metadata)
	}
	if req.Origins != nil {
		origins := f.origins("origins", *req.Origins)
		did("origins", !slices.Equal(t.Origins, origins))
		t.Origins = origins
	}
	networks := ch.editNetworks(req, f)
	did("networks", !slices.Equal(t.Networks, networks))
	t.Networks = networks
	if req.Permissions != nil || req.Role != nil {
		grant := ch.editGrant(req, f)
		did("permissions", grant.Role != t.Grant.Role || !slices.Equal(grant.Permissions, t.Grant.Permissions))
		t.Grant = grant
	}
	return edited
}

// editNetworks returns the address list after the edit.
func (ch *change) editNetworks(req *EditRequest, f *faults) []netip.Prefix {
	list := slices.Clone(ch.rec.Token.Networks)
	before := len(list)
	if req.Networks != nil {
		if len(req.AddNetworks) > 0 || len(req.RemoveNetworks) > 0 {
			f.add("networks", "cannot be given together with add_networks or remove_networks: replace the list or change it")
		}
		list = f.networks("networks", *req.Networks)
	}
	for _, p := range f.networks("remove_networks", req.RemoveNetworks) {
		i := slices.Index(list, p)
		if i < 0 {
			f.add("remove_networks", "%s is not in the list", p)
			continue
		}
		list = slices.Delete(list, i, i+1)
	}
	for _, p := range f.networks("add_networks", req.AddNetworks) {
		if !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	if len(list) > maxNetworks {
		f.add("networks", "would have %d entries: at most %d are possible", len(list), maxNetworks)
	}
	if before > 0 && len(list) == 0 && !req.AnyNetwork {
		f.add("networks", "would be empty, which lets the token be used from anywhere: set any_network if that is meant")
	}
	if req.AnyNetwork && len(list) > 0 {
		f.add("any_network", "is set but addresses remain: remove them too")
	}
	return list
}

// withinOwner cuts what the editor may grant by what the owner has (S3.10).
func (ch *change) withinOwner(ctx context.Context) error {
	t := &ch.rec.Token
	if ch.s.opts.Owners == nil || t.Owner == "" || ch.powers.owns(t) {
		return nil
	}
	st, err := ch.s.standing(ctx, t.Tenant, t.Owner)
	if err != nil {
		return err
	}
	pw := *ch.powers
	pw.permissions.cut(&st.Permissions)
	ch.powers = &pw
	return nil
}

// editGrant returns the grant after the edit, within what the editor has (S3.10).
func (ch *change) editGrant(req *EditRequest, f *faults) Grant {
	t := &ch.rec.Token
	if !ch.rules.EditPermissions || t.Grant.Live {
		f.add("permissions", "of a %s token do not change: delete it and issue a new one", ch.rules.kind)
		return t.Grant
	}
	role, names := "", []string(nil)
	if req.Role != nil {
		if role = *req.Role; role == "" {
			f.add("role", "is empty: name a role, or leave it out")
			return t.Grant
		}
	}
	if req.Permissions != nil {
		names = append([]string{}, *req.Permissions...)
	}
	return ch.s.grant(ch.powers, ch.rules, role, names, f)
}

// EditOrigins replaces the browser origins that may call the API with any of the
// tenant's tokens (S1.1). Which active user may do so is the host's handler's to
// decide.
func (s *Service) EditOrigins(ctx context.Context, actor Actor, req OriginsRequest) (Settings, error) {
	var f faults
	f.addErr(actor.check())
	f.text("reason", req.Reason, maxReason, true)
	origins := f.origins("origins", req.Origins)
	if actor.crossTenant {
		f.add("actor.tenant", "is empty: origins belong to one tenant")
	}
	if err := f.join(); err != nil {
		return Settings{}, err
	}
	if _, err := s.powers(ctx, actor); err != nil {
		return Settings{}, err
	}
	for range maxTries {
		now := s.instant()
		old, err := s.store.Settings(ctx, actor.Tenant)
		if err != nil {
			return Settings{}, outage("store", err)
		}
		if req.IfVersion != 0 && req.IfVersion != old.Version {
			return Settings{}, ErrVersion
		}
		if slices.Equal(old.Origins, origins) {
			return old, nil
		}
		next := Settings{Tenant: actor.Tenant, Version: old.Version + 1, Origins: origins, UpdatedAt: now}
		e := Event{
			ID: eventID("tenant:"+actor.Tenant, next.Version, 0), Type: EventOrigins, Message: (*Policy)(nil).message(EventOrigins),
			Category: EventCategory, Time: now, Tenant: actor.Tenant, Actor: actor.party(), Via: actor.token,
			Target: Target{Owner: Party{PartyTenant, actor.Tenant}}, Version: next.Version,
			Reason: req.Reason, Changed: []string{"origins"}, RequestID: actor.RequestID, Address: actor.Address,
			Deliver: s.opts.Notifier != nil,
		}
		err = s.store.SwapSettings(ctx, next, []Event{e})
		if err == nil {
			return next, nil
		}
		if err = storeErr(err); !isConflict(err) {
			return Settings{}, err
		}
	}
	return Settings{}, outage("store", fmt.Errorf("the settings of tenant %q were changed by others %d times in a row: try again", actor.Tenant, maxTries))
}

// Origins returns the tenant's settings.
func (s *Service) Origins(ctx context.Context, actor Actor) (Settings, error) {
	if err := actor.check(); err != nil {
		return Settings{}, err
	}
	if actor.crossTenant {
		return Settings{}, fieldErr("actor.tenant", "is empty: origins belong to one tenant")
	}
	settings, err := s.store.Settings(ctx, actor.Tenant)
	if err != nil {
		return Settings{}, outage("store", err)
	}
	return settings, nil
}
