package memstore_test

import (
	"testing"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/memstore"
	"github.com/tokenry/apitoken/storetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) apitoken.Store { return memstore.New() })
}
