package krundl

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What plays the guest here speaks as docs/control.md has it; a real one is in guest_test.go.

func frame(kind byte, content ...[]byte) []byte {
	all := bytes.Join(content, nil)
	return append(append([]byte{kind}, number(len(all))...), all...)
}

func number(n int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }

func text(text string) []byte { return append(number(len(text)), text...) }

var (
	hello   = frame(1, []byte("krundl-control"), number(1))
	started = append(hello[:len(hello):len(hello)], frame(2, number(42))...)
)

// listening is a guest of which each connection is served so; the test ends when all of them have.
func listening(t *testing.T, serve func(net.Conn)) Guest {
	t.Helper()
	dir, err := os.MkdirTemp("", "control-")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "guest")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Add(1)
	go func() {
		defer all.Done()
		for {
			host, err := listener.Accept()
			if err != nil {
				return
			}
			all.Add(1)
			go func() {
				defer all.Done()
				defer host.Close()
				// A test that fails ends all the same.
				host.SetDeadline(time.Now().Add(20 * time.Second))
				serve(host)
			}()
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		all.Wait()
		os.RemoveAll(dir)
	})
	return Guest(path)
}

// saying is a guest that says this and waits for the host to go.
func saying(t *testing.T, said ...[]byte) Guest {
	return listening(t, func(host net.Conn) {
		host.Write(bytes.Join(said, nil))
		io.Copy(io.Discard, host)
	})
}

// obeying is a guest with a command that gives its input back, ends with it unless it sleeps, and dies of signals; what it is
// asked to run is put into asked, and sizes into sizes.
func obeying(t *testing.T, asked, sizes chan []byte) Guest {
	return listening(t, func(host net.Conn) {
		host.Write(hello)
		sleeps := false
		for {
			var head [5]byte
			if _, err := io.ReadFull(host, head[:]); err != nil {
				return
			}
			content := make([]byte, binary.LittleEndian.Uint32(head[1:]))
			if _, err := io.ReadFull(host, content); err != nil {
				return
			}
			switch head[0] {
			case 64:
				if asked != nil {
					asked <- content
				}
				sleeps = bytes.HasPrefix(content, text("sleep"))
				host.Write(frame(2, number(42)))
			case 67:
				host.Write(frame(4, content))
				return
			case 68:
				sizes <- content
			case 128:
				host.Write(frame(129, content))
			case 133:
				// What has been taken of the output makes room for as much input.
				host.Write(frame(132, content))
			case 136:
				if !sleeps {
					host.Write(frame(3, number(0)))
				}
			}
		}
	})
}

func TestACommandIsRunAsOSExecDoes(t *testing.T) {
	said := [][]byte{started, frame(129, []byte("out")), frame(130, []byte("err")), frame(3, number(7))}
	output, err := saying(t, said...).Command("sh", "-c", "exit 7").Output()
	var failed *ExitError
	if !errors.As(err, &failed) || string(output) != "out" || string(failed.Stderr) != "err" {
		t.Fatal(string(output), err)
	}
	if failed.Kind != ExitCode || failed.Status != 7 || err.Error() != "the workload exited with status 7" {
		t.Fatal(failed.Exit, err)
	}
	output, err = saying(t, said[0], said[1], said[2], frame(3, number(0))).Command("sh").CombinedOutput()
	if err != nil || string(output) != "outerr" {
		t.Fatal(string(output), err)
	}
	cmd := saying(t, said...).Command("sh")
	if cmd.Pid() != 0 || cmd.Wait() == nil || cmd.Kill() == nil {
		t.Fatal("it has not started")
	}
	if err := cmd.Run(); !errors.As(err, &failed) || cmd.Exit == nil || cmd.Exit.Status != 7 || cmd.Pid() != 42 {
		t.Fatal(err, cmd.Exit)
	}
	if err := cmd.Kill(); !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	if cmd.Start() == nil || cmd.Wait() == nil {
		t.Fatal("it runs once")
	}
}

func TestInputGoesThereAndOutputComesBack(t *testing.T) {
	// More than the windows and the pipes hold.
	sent := strings.Repeat("0123456789abcdef", 1<<16)
	asked := make(chan []byte, 1)
	cmd := obeying(t, asked, nil).Command("cat", "-u")
	cmd.Env, cmd.Dir, cmd.UID, cmd.GID = []string{"A=1"}, "/tmp", 5, 6
	cmd.Stdin = strings.NewReader(sent)
	output, err := cmd.Output()
	if err != nil || string(output) != sent {
		t.Fatal(len(output), err)
	}
	want := bytes.Join([][]byte{
		text("cat"), number(1), text("-u"), number(1), text("A=1"), number(1), text("/tmp"),
		number(1), number(5), number(1), number(6), number(0),
	}, nil)
	if got := <-asked; !bytes.Equal(got, want) {
		t.Fatalf("%q instead of %q", got, want)
	}

	cmd = obeying(t, nil, nil).Command("cat")
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	read, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdoutPipe(); err == nil {
		t.Fatal("a second pipe")
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"one", "two"} {
		var back [3]byte
		io.WriteString(input, word)
		if _, err := io.ReadFull(read, back[:]); err != nil || string(back[:]) != word {
			t.Fatal(back, err)
		}
	}
	input.Close()
	if rest, err := io.ReadAll(read); err != nil || len(rest) != 0 || cmd.Wait() != nil {
		t.Fatal(rest, err)
	}

	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd = obeying(t, nil, nil).Command("cat")
	cmd.Stdin, cmd.Stdout = strings.NewReader("into a file"), file
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if written, err := os.ReadFile(file.Name()); err != nil || string(written) != "into a file" {
		t.Fatal(string(written), err)
	}
}

func TestAContextEndsTheCommand(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	err := obeying(t, nil, nil).CommandContext(ctx, "sleep", "100").Run()
	var failed *ExitError
	if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &failed) || failed.Kind != ExitSignal {
		t.Fatal(err)
	}
	if failed.Status != 128+int(syscall.SIGKILL) {
		t.Fatal(failed.Status)
	}
	if err := obeying(t, nil, nil).CommandContext(ctx, "true").Run(); err != context.DeadlineExceeded {
		t.Fatal("it has ended before", err)
	}

	ctx, cancel = context.WithCancel(context.Background())
	cmd := obeying(t, nil, nil).CommandContext(ctx, "sleep", "100")
	cmd.Cancel = func() error { return cmd.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := cmd.Wait(); !errors.As(err, &failed) || failed.Status != 128+int(syscall.SIGTERM) {
		t.Fatal(err)
	}

	// Nobody answers: neither the start nor the kill.
	ctx, cancel = context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if err := saying(t).CommandContext(ctx, "sh").Start(); err != context.DeadlineExceeded {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	gone := make(chan struct{})
	cmd = listening(t, func(host net.Conn) { host.Write(started); <-gone }).CommandContext(ctx, "sleep")
	cmd.WaitDelay = 10 * time.Millisecond
	if err := cmd.Run(); err != ErrWaitDelay {
		t.Fatal(err)
	}
	close(gone)
	<-cmd.ended
}

func TestCopyingIsWaitedForAndNotForEver(t *testing.T) {
	// A reader that never ends holds Wait up, unless WaitDelay says how long.
	read, write := io.Pipe()
	defer write.Close()
	cmd := saying(t, started, frame(3, number(0))).Command("true")
	cmd.Stdin, cmd.WaitDelay = read, 10*time.Millisecond
	if err := cmd.Run(); err != ErrWaitDelay || !cmd.Exit.Success() {
		t.Fatal(err)
	}
	// A writer that takes no more is told of, and ends nothing.
	full := errors.New("full")
	cmd = saying(t, started, frame(129, []byte("out")), frame(3, number(0))).Command("true")
	cmd.Stdout = writer(func([]byte) (int, error) { return 0, full })
	if err := cmd.Run(); err != full {
		t.Fatal(err)
	}
	// Nor does a pipe whose reader has gone, of which a write would raise SIGPIPE.
	closed, open, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	defer open.Close()
	cmd = saying(t, started, frame(129, []byte("out")), frame(3, number(0))).Command("true")
	cmd.Stdout = open
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(bytes []byte) (int, error) { return w(bytes) }

func TestWhatAGuestCannotDoIsSaid(t *testing.T) {
	cmd := saying(t, hello, frame(5, number(2), text("no such program"))).Command("none")
	err := cmd.Start()
	var missing *ExitError
	if !errors.As(err, &missing) || missing.Kind != ExitNotExecuted || missing.Status != 127 || cmd.Exit == nil {
		t.Fatal(err)
	}
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "no such program") {
		t.Fatal(err)
	}
	if err := saying(t, hello, frame(6, number(2), text("why"))).Command("sh").Run(); !errors.Is(err, GuestSetup) {
		t.Fatal(err)
	}
	if err := saying(t, started, frame(200)).Command("sh").Run(); !errors.Is(err, ControlLost) {
		t.Fatal(err)
	}
	lost := Guest("/no/such/socket").Command("sh")
	lost.ConnectTimeout = time.Millisecond
	if err := lost.Run(); !errors.Is(err, ControlLost) {
		t.Fatal(err)
	}
	for _, cmd := range []*Cmd{
		Guest("no name").Command("sh"), Guest("/s").Command("s\x00"), Guest("/s").Command("sh", "\x00"),
		{Guest: "/s", Path: "sh", Env: []string{"no value"}},
	} {
		if err := cmd.Run(); !errors.Is(err, InvalidArgument) {
			t.Fatal(err)
		}
	}
}

func TestATerminalHasASize(t *testing.T) {
	asked, sizes := make(chan []byte, 1), make(chan []byte, 1)
	cmd := obeying(t, asked, sizes).Command("sh")
	cmd.Terminal = &Size{Rows: 24, Columns: 80}
	input, err := cmd.StdinPipe()
	if err != nil || cmd.Start() != nil {
		t.Fatal(err)
	}
	if request := <-asked; !bytes.HasSuffix(request, append(number(1), number(24<<16|80)...)) {
		t.Fatalf("%q", request)
	}
	if err := cmd.Resize(Size{30, 90}); err != nil {
		t.Fatal(err)
	}
	if size := <-sizes; !bytes.Equal(size, number(30<<16|90)) {
		t.Fatal(size)
	}
	input.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestFiguresHaveUnits(t *testing.T) {
	list := func(figures map[string]uint64) []byte {
		content := number(len(figures))
		for name, figure := range figures {
			content = binary.LittleEndian.AppendUint64(append(content, text(name)...), figure)
		}
		return frame(7, content)
	}
	figures, err := saying(t, hello, list(map[string]uint64{
		"uptime_ms": 1500, "memory_total": 1 << 32, "load_5_milli": 1500, "cpus": 2, "cpu_user_ms": 10, "processes": 3,
	})).Figures(context.Background())
	want := Figures{
		Uptime: 1500 * time.Millisecond, CPUs: 2, CPU: CPUTimes{User: 10 * time.Millisecond},
		Memory: MemoryFigures{Total: 1 << 32}, Load: [3]float64{0, 1.5, 0}, Processes: 3,
	}
	if err != nil || figures != want {
		t.Fatal(figures, err)
	}
	later := figures
	later.CPU.Stolen, later.CPU.Idle = 10*time.Millisecond, 30*time.Millisecond
	if busy := later.BusySince(figures); busy != 0.25 || figures.BusySince(later) != 0 || later.BusySince(later) != 0 {
		t.Fatal(busy)
	}
	if err := saying(t, hello, frame(8)).Terminate(context.Background()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if _, err := saying(t).Figures(ctx); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ControlLost) {
		t.Fatal(err)
	}
	if err := Guest("/s").Terminate(ctx); err != context.DeadlineExceeded {
		t.Fatal(err)
	}
}

func TestAVMsOwnGuest(t *testing.T) {
	if guest, err := launch(t, "hangs").Guest(); !errors.Is(err, InvalidArgument) || guest != "" {
		t.Fatal(guest, err)
	}
	wanted := spec(t)
	wanted.Control = &Control{}
	plan, err := probe(t, "hangs", "1.19.7").Plan(wanted)
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	vm, err := plan.Launch(LaunchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	guest, err := vm.Guest()
	if err != nil || !filepath.IsAbs(string(guest)) {
		t.Fatal(guest, err)
	}
	if port := vm.HostPort("", 22); port != 0 {
		t.Fatal(port)
	}
	vm.Close()
	if _, err := vm.Guest(); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

func TestCommandsAtTheSameTime(t *testing.T) {
	guest := obeying(t, nil, nil)
	var all sync.WaitGroup
	for i := 0; i < 16; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			cmd := guest.Command("cat")
			cmd.Stdin = strings.NewReader(strings.Repeat("x", 10000))
			if output, err := cmd.Output(); err != nil || len(output) != 10000 {
				t.Error(len(output), err)
			}
		}()
	}
	all.Wait()
}
