package apitoken_test

import (
	"errors"
	"fmt"

	"github.com/tokenry/apitoken"
)

// fleet is a catalog as a program declares it: manage takes view along, and
// people log in to the console while tokens do not.
var fleet = apitoken.MustCatalog([]apitoken.Permission{
	{Name: "devices:view", API: true},
	{Name: "devices:manage", API: true, Implies: []string{"devices:view"}},
	{Name: "reports:view", API: true},
	{Name: "location:view", API: true},
	{Name: "address:view", API: true},
	{Name: "console:login"},
}, []apitoken.Role{
	{Name: "operator", Permissions: []string{"devices:manage", "console:login"}},
})

func ExampleNewCatalog() {
	_, err := apitoken.NewCatalog([]apitoken.Permission{
		{Name: "devices:view"},
		{Name: "devices:manage", API: true, Implies: []string{"devices:view"}},
		{Name: "device reports"},
	}, nil)
	for _, fault := range apitoken.Fields(err) {
		fmt.Printf("%s: %s\n", fault.Field, fault.Problem)
	}
	// Output:
	// permissions[2]: "device reports" is no permission name: use 1 to 128 letters, digits and : . _ - /
	// permissions: "devices:manage" may be put on tokens but implies "devices:view", which may not: mark both or neither as API
}

func ExampleCatalog_Role() {
	operator, _ := fleet.Role("operator")
	fmt.Println("a person: ", operator.Names())
	fmt.Println("a token:  ", operator.Intersect(fleet.API()).Names())
	// Output:
	// a person:  [console:login devices:manage devices:view]
	// a token:   [devices:manage devices:view]
}

func ExamplePermissions_With() {
	chosen, err := fleet.Set("reports:view")
	if err != nil {
		panic(err)
	}
	chosen, err = chosen.With("devices:manage")
	if err != nil {
		panic(err)
	}
	fmt.Println(chosen.Names())
	fmt.Println(chosen.Without("devices:view").Names())
	// Output:
	// [devices:manage devices:view reports:view]
	// [reports:view]
}

func ExampleCatalog_Require() {
	need, err := fleet.Require("devices:view", "reports:view")
	if err != nil {
		panic(err)
	}
	have, _ := fleet.Set("devices:manage")
	err = need.Check(have, apitoken.Resources{})
	fmt.Println(err)
	if lacks, ok := errors.AsType[*apitoken.PermissionError](err); ok {
		fmt.Println(lacks.Missing)
	}
	// Output:
	// apitoken: missing permission reports:view: use a token that has it
	// [reports:view]
}

// An endpoint returns a device to whoever may view devices, and its location only
// to those who may see locations and addresses too.
func ExampleRequirement_Field() {
	need := fleet.MustRequire("devices:view").Field("geoData", "location:view", "address:view")
	have, _ := fleet.Set("devices:view", "location:view")

	fmt.Println("the device:      ", need.Check(have, apitoken.Resources{}) == nil)
	fmt.Println("with its place:  ", need.FieldAllowed(have, "geoData"))
	fmt.Println("asking for it:   ", need.Asking("geoData").Check(have, apitoken.Resources{}))
	// Output:
	// the device:       true
	// with its place:   false
	// asking for it:    apitoken: missing permission address:view: use a token that has it
}

func ExampleRequirement_In() {
	need := fleet.MustRequire("devices:view").In("europe")
	have, _ := fleet.Set("devices:view")

	fmt.Println(need.Check(have, apitoken.Resources{Groups: []string{"europe", "asia"}}))
	fmt.Println(need.Check(have, apitoken.Resources{Groups: []string{"asia"}}))
	// Output:
	// <nil>
	// apitoken: missing resource group europe: use a token that has it
}
