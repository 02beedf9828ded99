package servers

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// errEnded says that a server ended before it answered.
var errEnded = errors.New("it ended")

// process is a running program of a server.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how; only after done
}

// guardScript ends the server named in the last line it read and removes the folder
// when its input ends: when it is told to, and when the test binary is gone, for
// whatever reason. A deferred call would not run on a panic, a timeout or kill -9.
// A signal by the kernel at the parent's death is Linux's alone and leaves the
// folder behind. Terminals and CI send their signals to more than the test binary;
// those are ignored.
const guardScript = `
trap '' HUP INT QUIT TERM
server=
while read -r line; do server=$line; done
if [ -n "$server" ]; then
	kill -s "$2" "$server"
	tries=100
	while [ "$tries" -gt 0 ] && kill -s 0 "$server" 2>/dev/null; do
		sleep 0.1
		tries=$((tries - 1))
	done
	kill -s KILL "$server" 2>/dev/null
fi
rm -rf "$1"
`

// guard is the process that outlives the test binary to clean up after it.
type guard struct {
	cmd   *exec.Cmd
	input io.WriteCloser
}

func newGuard(dir, signal string) (*guard, error) {
	g := &guard{cmd: exec.Command("sh", "-c", guardScript, "guard", dir, signal)}
	g.cmd.Dir = "/"
	g.cmd.SysProcAttr = attributes(nil)
	var err error
	if g.input, err = g.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err = g.cmd.Start(); err != nil {
		return nil, err
	}
	return g, nil
}

// watch names the process to end, 0 for none.
func (g *guard) watch(pid int) error {
	line := "\n"
	if pid != 0 {
		line = strconv.Itoa(pid) + "\n"
	}
	_, err := io.WriteString(g.input, line)
	return err
}

// close returns when the guard has done its work.
func (g *guard) close() error {
	return errors.Join(g.input.Close(), g.cmd.Wait())
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// wait is the one goroutine of a server. It ends with it.
func (p *process) wait(g *guard) {
	p.err = p.cmd.Wait()
	// The process ID may soon be another's. This fails if the guard is done.
	_ = g.watch(0)
	close(p.done)
}

// kill returns when the process is gone, its children killed.
func (p *process) kill() error {
	if err := killTree(p.pid()); err != nil {
		return err
	}
	<-p.done
	return nil
}

// run runs a program to its end as the server's account.
func (s *Server) run(command ...string) error {
	p, err := s.start(command)
	if err != nil {
		return err
	}
	<-p.done
	if p.err != nil {
		return fmt.Errorf("%s: %w, its log ends:\n%s", filepath.Base(command[0]), p.err, s.logTail())
	}
	return nil
}

// start starts a program as the server's account. Its output goes to a file: go test
// waits for whoever holds its own.
func (s *Server) start(command []string) (*process, error) {
	log, err := os.OpenFile(s.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &process{cmd: exec.Command(command[0], command[1:]...), done: make(chan struct{})}
	p.cmd.Dir = s.dir
	// What a developer's shell sets for databases is not for this one.
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "TMPDIR=" + s.dir, "LC_ALL=C", "TZ=UTC"}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = attributes(s.account)
	if err := p.cmd.Start(); errors.Is(err, fs.ErrPermission) && s.account != nil {
		return nil, fmt.Errorf("%w: account %s must be able to enter %s", err, s.engine.account, s.dir)
	} else if err != nil {
		return nil, err
	}
	watched := s.guard.watch(p.pid())
	go p.wait(s.guard)
	if watched != nil {
		return nil, errors.Join(watched, p.kill())
	}
	return p, nil
}
