// Package model holds a small, independent model of what must hold for tokens
// whatever happens, and tests that let three nodes over one store do everything
// in random order against it: with failing and answerless stores, clocks that
// differ and step back, and calls of one node in the middle of another's. The same
// happens to memory, SQLite, PostgreSQL and MariaDB side by side, with the same
// clock and the same random numbers, and all answers must be the same.
//
// RAPID_CHECKS and RAPID_STEPS set how many runs of how many steps there are,
// beyond those that every test run does; side by side there is one run for each
// 200 over memory alone:
//
//	RAPID_CHECKS=20000 go test -timeout 0 -v -run TestModel ./internal/model
//	RAPID_CHECKS=20000 go test -timeout 0 -v -run TestSideBySide ./internal/model
package model
