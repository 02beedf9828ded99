package tokenfile_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/tokenfile"
)

// A program takes its token from a file, and tells its user when others can read it.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "ci.token")
	issued := tokenfile.File{ID: "2w7RkZ0123456789abcdef", Secret: apitoken.NewSecret("acme_2w7RkZ0123456789abcdefSecret")}
	if err := tokenfile.Write(path, issued); err != nil {
		panic(err)
	}

	file, warning, err := tokenfile.Read(path)
	fmt.Println(file, warning == "", err)
	// Output: {2w7RkZ0123456789abcdef [redacted]} true <nil>
}
