package apitoken

import (
	"net/netip"
	"strconv"
	"time"
)

// EventType names what happened to a token; hosts switch on it.
type EventType string

// The event types: one for each verb, and one for each thing that time does.
const (
	EventCreated  EventType = "token.created"
	EventImported EventType = "token.imported" // takes the place of created; nobody is told of it
	EventEdited   EventType = "token.edited"
	EventExtended EventType = "token.extended"
	EventDisabled EventType = "token.disabled"
	EventEnabled  EventType = "token.enabled"
	EventRotated  EventType = "token.rotated"
	EventRevoked  EventType = "token.revoked"
	EventDeleted  EventType = "token.deleted"
	EventExpired  EventType = "token.expired"
	EventReused   EventType = "token.reused" // a value replaced by rotation was presented after its overlap
	EventLeaked   EventType = "token.leaked" // a value was found where it does not belong; Reason says where

	EventExpiring     EventType = "token.expiring"      // its holders are told before the expiry (S2.33, S3.8)
	EventOverlapEnded EventType = "token.overlap_ended" // the value before a rotation stopped working
	EventReapplied    EventType = "token.reapplied"     // Reapply put its kind's present terms on it
	EventLegacyEnded  EventType = "token.legacy_ended"  // an older ID and secret stopped working, other than by rotation

	EventOrigins EventType = "tenant.origins_edited"
)

// EventCategory is the category of every event (S1.30).
const EventCategory = "token lifecycle"

// PartyType says what sort of actor or owner a [Party] is.
type PartyType string

// The party types.
const (
	PartyUser   PartyType = "user"
	PartyAgent  PartyType = "agent"
	PartyTenant PartyType = "tenant"
	PartySystem PartyType = "system"
)

// Party is who did something, or whose token it was done to.
type Party struct {
	Type PartyType `json:"type"`
	ID   string    `json:"id"`
}

// Target is the token an event is about, and its owner (S1.31).
type Target struct {
	Token ID     `json:"token,omitempty"`
	Name  string `json:"name,omitempty"`
	Kind  Kind   `json:"kind,omitempty"`
	Owner Party  `json:"owner"`
}

// Event is one line of the audit history. It is written in the transaction of
// the change it tells of, never changed, and survives the token. It carries no
// secret.
type Event struct {
	// ID is unique and stable: token, version and ordinal. A consumer that sees
	// an event twice knows it by its ID.
	ID      string    `json:"id"`
	Type    EventType `json:"type"`
	Message string    `json:"message"` // for display: 'API Token created' (S1.30, S2.31)
	// Category is always [EventCategory].
	Category  string     `json:"category"`
	Time      time.Time  `json:"time"`
	DueAt     time.Time  `json:"due_at,omitzero"` // when it was due, for what time did; Time is when it was done
	Tenant    string     `json:"tenant"`
	Actor     Party      `json:"actor"`
	Via       ID         `json:"via,omitempty"` // the token that the actor's request came with ([Principal.Actor])
	Target    Target     `json:"target"`
	Version   int64      `json:"version"`
	Ordinal   int        `json:"ordinal"`
	Cause     Cause      `json:"cause,omitempty"`
	Reason    string     `json:"reason,omitempty"`
	Changed   []string   `json:"changed,omitempty"` // names of the fields an edit changed
	ExpiresAt time.Time  `json:"expires_at,omitzero"`
	Creator   string     `json:"creator,omitempty"`
	RequestID string     `json:"request_id,omitempty"`
	Address   netip.Addr `json:"address,omitzero"` // the actor's
	Deliver   bool       `json:"-"`                // goes to the outbox: a Notifier was configured when it was written
}

func eventID(token string, version int64, ordinal int) string {
	return token + "." + strconv.FormatInt(version, 10) + "." + strconv.Itoa(ordinal)
}

// ownerParty is whose token t is.
func ownerParty(t *Token) Party {
	switch {
	case t.Agent != "":
		return Party{PartyAgent, t.Agent}
	case t.Owner != "":
		return Party{PartyUser, t.Owner}
	}
	return Party{PartyTenant, t.Tenant}
}
