package redisstore

// StructLua is the first part of all scripts.
var StructLua = structLua

// Leases returns of how many buckets the limiter knows how they are used.
func (l *Limiter) Leases() int { return len(l.leases.young) + len(l.leases.old) }
