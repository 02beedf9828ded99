package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/memstore"
)

const (
	million = 1_000_000
	inUse   = 10_000 // of the million
)

// crowd is a store with a million tokens, a bare map with as many entries, and
// the IDs that are asked for, in the order in which they are.
type crowd struct {
	store *memstore.Store
	bare  *bareMap
	warm  []apitoken.ID
	any   []apitoken.ID
}

var theCrowd = sync.OnceValue(func() *crowd {
	ctx, at := context.Background(), time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c := &crowd{store: memstore.New(), bare: new(bareMap)}
	for i := range million {
		id := randomID()
		owner := fmt.Sprintf("user-%d", i%5000)
		err := c.store.Create(ctx, &apitoken.Record{
			Token: apitoken.Token{
				ID: id, Version: 1, Tenant: fmt.Sprintf("tenant-%d", i%1000), Kind: "personal", Name: fmt.Sprintf("deploy bot %d", i),
				Owner: owner, Creator: owner, State: apitoken.StateActive, StateAt: at, CreatedAt: at, UpdatedAt: at, Share: 100,
				Grant: apitoken.Grant{Permissions: []string{"devices:view", "devices:manage", "reports:view"}},
			},
			Primary: apitoken.Slot{Algorithm: "sha256", Prefix: "acme", Blob: make([]byte, 32)},
		}, nil)
		if err != nil {
			panic(err)
		}
		c.bare.put(id, i)
		if i%(million/inUse) == 0 {
			c.warm = append(c.warm, id)
		}
		if i%97 == 0 {
			c.any = append(c.any, id)
		}
	}
	for _, ids := range [][]apitoken.ID{c.warm, c.any} {
		rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	}
	for _, id := range c.warm {
		if _, err := c.store.Record(ctx, id); err != nil {
			panic(err)
		}
	}
	return c
})

func randomID() apitoken.ID {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	var id [22]byte
	for i := range id {
		id[i] = digits[rand.IntN(len(digits))]
	}
	return apitoken.ID(id[:])
}

func lookUpRecord(b *testing.B) {
	c := theCrowd()
	lookUp(b, c.warm, func(id apitoken.ID) bool {
		_, err := c.store.Record(b.Context(), id)
		return err == nil
	})
}

// lookUpColdRecord asks for any of the million: most have to be decoded.
func lookUpColdRecord(b *testing.B) {
	c := theCrowd()
	lookUp(b, c.any, func(id apitoken.ID) bool {
		_, err := c.store.Record(b.Context(), id)
		return err == nil
	})
}

func lookUpBare(b *testing.B) {
	c := theCrowd()
	lookUp(b, c.warm, func(id apitoken.ID) bool {
		_, ok := c.bare.get(id)
		return ok
	})
}

func lookUp(b *testing.B, ids []apitoken.ID, find func(apitoken.ID) bool) {
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if !find(ids[i]) {
			b.Fatal("not found")
		}
		if i++; i == len(ids) {
			i = 0
		}
	}
}

// collect forces garbage collections beside the store.
func collect(b *testing.B) {
	c := theCrowd()
	for b.Loop() {
		runtime.GC()
	}
	runtime.KeepAlive(c)
}
