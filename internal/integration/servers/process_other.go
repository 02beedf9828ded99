//go:build !unix

package servers

import (
	"errors"
	"fmt"
	"syscall"
)

type account struct{}

// findAccount says that servers cannot be started here; those that run already can
// be used.
func findAccount(string) (*account, error) {
	return nil, fmt.Errorf("%w: servers are started on Unix only", errMissing)
}

func (*account) own(string) error { return errors.ErrUnsupported }

func attributes(*account) *syscall.SysProcAttr { return nil }

func killTree(int) error { return errors.ErrUnsupported }
