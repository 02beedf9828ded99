package servers

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

var redisEngine = &engine{
	name:     "Redis",
	variable: "APITOKEN_TEST_REDIS_ADDR",
	packages: "redis-server",
	account:  "redis",
	signal:   "KILL",
	programs: []string{"redis-server"},
	prepare:  prepareRedis,
	command:  redisCommand,
	own:      redisBase,
	outside:  redisOutside,
	ping:     redisPing,
	create:   func(context.Context, string, string) error { return nil },
	drop:     func(context.Context, string, string) error { return nil },
	dsn:      func(_ context.Context, base, _ string, _ Isolation) (string, error) { return base, nil },
}

// prepareRedis keeps the password out of the list of processes. Without one, and with
// CONFIG at hand, another user of this machine could have files written.
func prepareRedis(s *Server) error {
	config := "bind 127.0.0.1\nrequirepass " + s.password + "\nrename-command CONFIG \"\"\ndir " + strconv.Quote(s.dir) + "\nsave \"\"\n"
	if s.durable {
		config += "appendonly yes\nappendfsync always\nauto-aof-rewrite-percentage 0\n"
	}
	return s.write("redis.conf", config)
}

func redisCommand(s *Server) []string {
	return []string{s.programs["redis-server"], s.path("redis.conf"), "--port", strconv.Itoa(s.port)}
}

func redisBase(s *Server) string {
	base := url.URL{Scheme: "redis", User: url.UserPassword("", s.password), Host: s.Addr(), Path: "/0"}
	return base.String()
}

// redisOutside takes host and port, or a URL for a server with a password.
func redisOutside(address string) string {
	if strings.Contains(address, "://") {
		return address
	}
	return "redis://" + address + "/0"
}

// redisPing speaks the protocol itself: this module has no other use for a client.
func redisPing(ctx context.Context, base string) error {
	target, err := url.Parse(base)
	if err != nil {
		return err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", target.Host)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	password, _ := target.User.Password()
	if _, err := fmt.Fprintf(conn, "AUTH %s\r\nPING\r\n", password); err != nil {
		return err
	}
	answers := bufio.NewReader(conn)
	for _, want := range []string{"+OK\r\n", "+PONG\r\n"} {
		answer, err := answers.ReadString('\n')
		if err != nil {
			return err
		}
		if answer != want {
			return fmt.Errorf("Redis answers %q", answer)
		}
	}
	return nil
}
