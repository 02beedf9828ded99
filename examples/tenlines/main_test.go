package main

func Example() {
	main()
	// Output:
	// errors: <nil>
	// before: 200 alice of acme
	// revoked: 401
}
