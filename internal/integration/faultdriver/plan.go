package faultdriver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Kind is what an operation does.
type Kind string

// The operations that are counted, in the words of a trace.
const (
	OpConnect  Kind = "connect"
	OpPing     Kind = "ping"
	OpBegin    Kind = "begin"
	OpPrepare  Kind = "prepare"
	OpExec     Kind = "exec"
	OpResult   Kind = "result" // of an exec: rows affected, last ID
	OpQuery    Kind = "query"
	OpNext     Kind = "next"  // row of a query, the end too
	OpClose    Kind = "close" // of a query's rows
	OpCommit   Kind = "commit"
	OpRollback Kind = "rollback"
)

// Op is one operation.
type Op struct {
	N         int // counted from 1 since the last Reset, over all connections
	Kind      Kind
	Statement string // what is prepared, executed or read
	InTx      bool
}

// String is a line of a trace.
func (op Op) String() string {
	s := fmt.Sprintf("%d %s", op.N, op.Kind)
	if op.Statement != "" {
		s += " " + strings.Join(strings.Fields(op.Statement), " ")
	}
	return s
}

// Rule says which fault an operation meets; false = none. It is asked about one
// operation at a time, and must not use the Plan.
type Rule func(Op) (Fault, bool)

// At lets the n-th operation meet f.
func At(n int, f Fault) Rule {
	return func(op Op) (Fault, bool) { return f, op.N == n }
}

// From lets the n-th operation and all after it meet f, as when a server is gone
// for good.
func From(n int, f Fault) Rule {
	return func(op Op) (Fault, bool) { return f, op.N >= n }
}

// Repeat lets the n-th operation meet f, and then those that do the same, times
// times in all: one that is retried fails again.
func Repeat(n, times int, f Fault) Rule {
	var first Op
	return func(op Op) (Fault, bool) {
		if op.N == n {
			first = op
		}
		if first.N == 0 || op.Kind != first.Kind || op.Statement != first.Statement || times == 0 {
			return Fault{}, false
		}
		times--
		return f, true
	}
}

// Plan says which operations fail, and keeps a trace of them all. The zero Plan
// lets none fail. It is safe for concurrent use.
type Plan struct {
	mu      sync.Mutex
	rule    Rule
	ops     []Op
	struck  []Op
	endless []Op
	hanging chan Op
}

// Reset forgets the trace and sets the rule from here on; nil = no faults.
func (p *Plan) Reset(rule Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rule, p.ops, p.struck, p.endless = rule, nil, nil, nil
}

// Ops returns the operations since the last Reset.
func (p *Plan) Ops() []Op {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.ops)
}

// Struck returns those that met a fault.
func (p *Plan) Struck() []Op {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.struck)
}

// Endless returns those that would have hung for ever, because nothing can end
// their context. They answer [ErrFault] instead.
func (p *Plan) Endless() []Op {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.endless)
}

// Hanging receives each operation that begins to hang.
func (p *Plan) Hanging() <-chan Op { return p.channel() }

// Until returns a context that ends as soon as an operation hangs, at the latest
// when cancel is called.
func (p *Plan) Until(parent context.Context) (ctx context.Context, cancel context.CancelFunc) {
	ctx, cancel = context.WithCancel(parent)
	go func() {
		select {
		case <-p.Hanging():
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func (p *Plan) channel() chan Op {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hanging == nil {
		p.hanging = make(chan Op)
	}
	return p.hanging
}

// meet counts an operation and says which fault it meets.
func (p *Plan) meet(op Op) (Op, Fault, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	op.N = len(p.ops) + 1
	p.ops = append(p.ops, op)
	if p.rule == nil {
		return op, Fault{}, false
	}
	f, struck := p.rule(op)
	if struck {
		p.struck = append(p.struck, op)
	}
	return op, f, struck
}

// hang waits for the end of ctx.
func (p *Plan) hang(ctx context.Context, op Op) error {
	if ctx.Done() == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.endless = append(p.endless, op)
		return ErrFault
	}
	select {
	case p.channel() <- op:
	case <-ctx.Done():
	}
	<-ctx.Done()
	return ctx.Err()
}
