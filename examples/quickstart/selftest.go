package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// selfTest serves on a spare port, asks what a newcomer would, stops, starts again
// from the same database, and returns an error unless every answer was right.
func selfTest(ctx context.Context, db place, start func(context.Context, place) (*server, error), out io.Writer) error {
	c := &conversation{ctx: ctx, out: out}
	var kept keepsakes
	err := c.with(start, db, func(s *server) (err error) {
		kept, err = c.hold(s.tokens)
		return err
	})
	switch {
	case err != nil:
		return err
	case db == memory:
		fmt.Fprintln(out, "\nThe tokens are in memory and end here: -db file keeps them.")
	default:
		fmt.Fprintln(out, "\nThe server is stopped and started again.")
		err = c.with(start, db, func(*server) error {
			c.afterRestart(kept)
			return nil
		})
		if err != nil {
			return err
		}
	}
	fmt.Fprintln(out)
	if c.wrong > 0 {
		return fmt.Errorf("%d of %d answers were wrong", c.wrong, c.asked)
	}
	_, err = fmt.Fprintf(out, "All %d answers were right.\n", c.asked)
	return err
}

// conversation asks, prints and judges.
type conversation struct {
	ctx          context.Context
	url          string // of the server that runs
	client       http.Client
	out          io.Writer
	asked, wrong int
}

// with talks to a server that is started for it and stopped afterwards.
func (c *conversation) with(start func(context.Context, place) (*server, error), db place, talk func(*server) error) error {
	s, err := start(c.ctx, db)
	if err != nil {
		return err
	}
	listener, err := listen(c.ctx, "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, s.close())
	}
	serving, stop := context.WithCancel(c.ctx)
	served := make(chan error, 1)
	go func() { served <- s.serve(serving, listener) }()
	c.url = "http://" + listener.Addr().String()
	err = talk(s)
	c.client.CloseIdleConnections()
	stop()
	return errors.Join(err, <-served, s.close())
}

// exchange is one request and what its answer must be.
type exchange struct {
	says    string // what it shows
	request string // method and path
	as      string // the token that asks, "" = none
	body    string
	retry   string // Idempotency-Key

	status int
	reason string   // of a refusal
	has    []string // what the body must contain
	lacks  []string // and must not
	fields []string // how header fields must begin: "Name: value"
}

// answer is what later requests need of one.
type answer struct {
	ID      string `json:"id"`
	Version int64  `json:"version"`
	Reason  string `json:"reason"`
	Secret  string `json:"secret"`
	Token   struct {
		ID      string `json:"id"`
		Version int64  `json:"version"`
	} `json:"token"`
}

func (c *conversation) ask(x exchange) answer {
	c.asked++
	method, path, _ := strings.Cut(x.request, " ")
	fmt.Fprintf(c.out, "\n%d. %s\n   %s\n", c.asked, x.says, strings.Join(strings.Fields(shorten(x.request+" "+x.as+" "+x.body)), " "))
	var got answer
	status, header, body, err := c.send(method, path, x)
	var faults []string
	expect := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	expect(err == nil, "no answer: %v", err)
	expect(status == x.status, "status %d, expected %d", status, x.status)
	if body != "" {
		expect(json.Valid([]byte(body)), "the body is not JSON")
		_ = json.Unmarshal([]byte(body), &got) // of other answers than these, as much as fits
	}
	if x.reason != "" {
		expect(got.Reason == x.reason, "reason %q, expected %q", got.Reason, x.reason)
	}
	for _, part := range x.has {
		expect(strings.Contains(body, part), "the body lacks %s", shorten(part))
	}
	for _, field := range x.fields {
		name, want, _ := strings.Cut(field, ": ")
		value := header.Get(name)
		expect(value != "" && strings.HasPrefix(value, want), "the header lacks %s", field)
	}
	for _, part := range x.lacks {
		expect(!strings.Contains(body, part), "the body has %s", shorten(part))
	}
	shown := shorten(body)
	if x.reason == "" {
		shown = clip(shown)
	}
	for _, field := range x.fields {
		name, _, _ := strings.Cut(field, ": ")
		fmt.Fprintf(c.out, "   %s: %s\n", name, header.Get(name))
	}
	fmt.Fprintf(c.out, "   %d (expected %d) %s\n", status, x.status, shown)
	if len(faults) > 0 {
		c.wrong++
		fmt.Fprintf(c.out, "   WRONG: %s\n", strings.Join(faults, "; "))
	}
	return got
}

func (c *conversation) send(method, path string, x exchange) (int, http.Header, string, error) {
	ctx, cancel := context.WithTimeout(c.ctx, 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, c.url+path, strings.NewReader(x.body))
	if err != nil {
		return 0, nil, "", err
	}
	if x.as != "" {
		r.Header.Set("Authorization", "Bearer "+x.as)
	}
	if x.retry != "" {
		r.Header.Set("Idempotency-Key", x.retry)
	}
	resp, err := c.client.Do(r)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, strings.TrimSpace(string(body)), err
}

// secret matches a token string, whole or damaged.
var secret = regexp.MustCompile(`([a-z][a-z0-9_]*_[0-9A-Za-z]{4})[0-9A-Za-z]{40,}[^\s"]*`)

// shorten leaves of each token as much as its hint shows.
func shorten(s string) string { return secret.ReplaceAllString(s, "$1…") }

// clip ends a long text. It is for texts without secrets: half of one would be
// printed.
func clip(s string) string {
	if r := []rune(s); len(r) > 250 {
		return string(r[:250]) + " …"
	}
	return s
}
