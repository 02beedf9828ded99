package storetest

// clause is a sentence of the contract in the documentation of package
// apitoken, word for word: a test of this package compares them.
type clause string

// In general.
const (
	honoursContext clause = "A Store is safe for concurrent use and honours its context."
	keepsInstants  clause = "It keeps instants in UTC with microseconds."
	comparesBytes  clause = "It compares and sorts text byte by byte: IDs, aliases, keys and tenants that differ in case are different."
	handsOutCopies clause = "It owns what it is given and hands out copies: nothing a caller changes afterwards reaches it."
	notFoundIsNo   clause = "[ErrNotFound] means that there is no such row, and nothing else."
	outageIsOther  clause = "Any error other than the ones named is an outage; it must not wrap an error family of this package except [ErrUnavailable]."
	allOrNothing   clause = "A write and its events happen together or not at all."
)

// Create, Get, Swap, Delete, Touch.
const (
	createStores    clause = "Create adds a token, as it is given, usage too, and its events."
	createDuplicate clause = "If the ID, the alias or the idempotency key (within its tenant) is taken it stores nothing and returns a *DuplicateError that says which."
	createUsed      clause = "An ID one of whose events is there already was used before and is taken, its token deleted or not."
	duplicateTells  clause = `the token that has it; for an ID or an alias "" if the store cannot tell`
	getReturns      clause = "Get returns the token with this ID, or ErrNotFound."
	aliasReturns    clause = "GetByAlias returns the token with this alias, or ErrNotFound."
	swapReplaces    clause = "Swap replaces a token whose stored version is rec.Token.Version-1 and that guard allows, and appends the events."
	swapRefuses     clause = "Otherwise it stores nothing and returns ErrConflict, or ErrNotFound when there is no such token."
	swapKeeps       clause = "Tenant, kind, creator, creation instant, idempotency key with its sum, and usage stay as they are stored, whatever rec holds."
	swapAlias       clause = "A taken alias gives a *DuplicateError."
	replaceBoth     clause = "Replace swaps old as Swap does and then adds rec as Create does, in one transaction with the events of both: all of it happens or nothing."
	replaceErrors   clause = "Errors are those of the two; where several apply it returns any one of them."
	deleteRemoves   clause = "Delete removes a token whose stored version is version and that guard allows, and appends the events, which outlive it."
	guardUsed       clause = "the stored last use is not later than this."
	guardNever      clause = "as NotUsedAfter, for a token whose last use was read as 'never'."
	touchAdds       clause = "Counts add up; the last use and what belongs to it (address, networks) move only forwards."
	touchPeriods    clause = "Those of a day, a week and a month are added as [PeriodUses.Add] does, at WrittenAt."
	touchOnly       clause = "The version stays, nothing else is changed, an unknown ID is passed over in silence: Touch never creates and never revives."
)

// List, Counts, Due, Stats.
const (
	listReturns  clause = "List returns the tokens that match, in the order asked for, at most query.Limit of them, beginning after query.After."
	listMatches  clause = "It is the definition that every store follows."
	listOrder    clause = "Every store sorts as [Position.Compare] does."
	anyTenant    clause = `must be set for Tenant ""; otherwise nothing matches`
	countsReturn clause = "Counts returns how many tokens there are of each kind among those that match; sort, limit and position do not matter."
	dueReturns   clause = "Due returns tokens of all tenants whose DueAt is set and not after before, ordered by (DueAt, ID), at most limit, beginning after after."
	statsOverdue clause = "tokens whose DueAt has passed"
	statsOldest  clause = "the earliest DueAt among those"
	statsOutbox  clause = "events neither delivered nor set aside yet"
	statsAside   clause = "events set aside"
)

// Events and the outbox.
const (
	eventsReturn  clause = `Events returns the events of a token, or with token "" those of the tenant's settings, in the order they happened (version, ordinal), beginning after the event with ID after ("" = from the first), at most limit.`
	eventsOutlive clause = "It finds them after the token is gone too."
	claimLeases   clause = "Claim leases up to limit undelivered events that nobody holds a lease on at now and whose retry instant has come, the earliest Time first."
	claimOnce     clause = "Each goes to one claimer: until the lease ends no other Claim returns it."
	claimAttempts clause = "how often it was claimed before"
	claimDeliver  clause = "goes to the outbox: a Notifier was configured when it was written"
	settleEnds    clause = "Settle ends claims: delivered, to be retried, or set aside."
	settleLost    clause = `A settlement whose lease is no longer the event's own is passed over; the lease "" is nobody's.`
)

// Settings and records.
const (
	settingsReturn clause = "Settings returns what a tenant has set; for one that never did, the zero Settings with its Tenant filled in, and no error."
	settingsSwap   clause = "SwapSettings stores settings whose version is the stored one plus one (a tenant that never set any is at 0), with the events; else ErrConflict."
	recordReturns  clause = "Record returns a record that all callers share and nobody changes, or ErrNotFound."
	recordFresh    clause = "It is as fresh as Get's for every change that was made through this value, except that Usage may lag, and a change of the token gives another record."
	revisionsAre   clause = "Revisions returns where those of the tokens stand that exist, in no order."
	revisionsTell  clause = "What was read of a token is still so if its Revision is equal."
)

// The replay guard.
const (
	replayKeeps   clause = "Remember keeps use.Key until use.Until, and reports whether it was not kept before"
	replayOnce    clause = "of any number of calls with one key, at once or one after the other, on all nodes that share the guard, one is told true."
	replayError   clause = "On an error nothing is known, and the caller refuses."
	replayForgets clause = "is told by [Service.Sweep] what it need not keep any longer."
)
