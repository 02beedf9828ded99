package integration_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/tokenry/apitoken/internal/integration/servers"
)

func TestMain(m *testing.M) {
	if os.Getenv(writerEngine) != "" {
		fmt.Fprintln(os.Stderr, runWriter(os.Stdout))
		os.Exit(1)
	}
	servers.Main(m)
}
