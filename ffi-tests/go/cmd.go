package krundl

/*
#include <krundl.h>
#include <stdlib.h>
*/
import "C"

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// Size is a terminal's, in lines and characters.
type Size struct{ Rows, Columns uint16 }

// Cmd is a further command in a running guest, used as os/exec's Cmd is: its fields are set before Start, and it runs once.
// Signal, Kill, Resize and Pid may be called by any goroutine once it has started.
type Cmd struct {
	// Guest is where it runs.
	Guest Guest
	// Path is the program, in the guest; a name is searched in the PATH of its environment.
	Path string
	// Args are its arguments, without its own name, unlike in os/exec.
	Args []string
	// Env are variables, each NAME=value, on top of the workload's; with ClearEnv it has these alone.
	Env      []string
	ClearEnv bool
	// Dir is its working directory in the guest; empty: the workload's.
	Dir string
	// UID and GID are the user and group that it runs as; 0 for the group of another user than 0: that of the user in the
	// guest's /etc/passwd.
	UID, GID uint32
	// Stdin, Stdout and Stderr are its streams; nil is nothing. An *os.File is read and written by the conversation itself,
	// with anything else a goroutine copies, and Wait waits for that. Stdout and Stderr may be one.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Terminal gives it a terminal of that size instead of three streams: output and errors are one, in Stdout.
	Terminal *Size
	// ConnectTimeout is how long a guest that does not answer yet is waited for; 0: 10 seconds.
	ConnectTimeout time.Duration
	// Cancel is called when the context has ended before the command; nil kills it (SIGKILL).
	Cancel func() error
	// WaitDelay is how long the command may go on after the context has ended, and the copying after the command has; then
	// it is killed, pipes are closed, and Wait returns ErrWaitDelay. 0: without end.
	WaitDelay time.Duration
	// Exit is how it ended, once that is known.
	Exit *Exit

	ctx     context.Context
	started bool
	waited  bool
	// What the other side holds until the start, what this side holds until the end, and who copies.
	theirs, ours []*os.File
	copiers      []func() error
	copied       chan error
	ended, late  chan struct{}

	mutex  sync.Mutex
	handle *C.krundl_exec
	pid    int
	exit   Exit
	err    error
	cause  error
}

// ErrWaitDelay is what Wait returns when WaitDelay is over.
var ErrWaitDelay = errors.New("krundl: the command, or the copying of its streams, did not end within WaitDelay")

// ExitError is a command's end other than with status 0, or that it could not be executed.
type ExitError struct {
	Exit
	// Stderr is the end of what it wrote there, where Output was to capture that: 32 KiB at most.
	Stderr []byte
	cause  error
}

func (e *ExitError) Error() string { return e.Exit.Text }

// Is tells that there is no such program in the guest (os.ErrNotExist).
func (e *ExitError) Is(target error) bool {
	return target == os.ErrNotExist && e.Kind == ExitNotExecuted && e.Status == 127
}

// Unwrap is the context's error where that has ended the command.
func (e *ExitError) Unwrap() error { return e.cause }

// Command is a command in this guest.
func (g Guest) Command(path string, args ...string) *Cmd {
	return &Cmd{Guest: g, Path: path, Args: args}
}

// CommandContext is a command that is killed when the context ends first, or ended as its Cancel says.
func (g Guest) CommandContext(ctx context.Context, path string, args ...string) *Cmd {
	if ctx == nil {
		panic("krundl: nil Context")
	}
	return &Cmd{Guest: g, Path: path, Args: args, ctx: ctx}
}

// Start starts it. That there is no such program, or that it cannot be executed, is an *ExitError of the kind
// ExitNotExecuted. Its streams flow from now on. Wait must be called.
func (c *Cmd) Start() error {
	if c.started {
		return errors.New("krundl: the command has been started already")
	}
	c.started = true
	c.ended, c.late = make(chan struct{}), make(chan struct{})
	err := c.start()
	closeAll(c.theirs)
	if err != nil {
		closeAll(c.ours)
		return err
	}
	c.copied = make(chan error, len(c.copiers))
	for _, copier := range c.copiers {
		go func(copier func() error) { c.copied <- copier() }(copier)
	}
	go c.inC()
	if c.ctx != nil {
		go c.watch()
	}
	return nil
}

func (c *Cmd) start() error {
	if c.ctx != nil && c.ctx.Err() != nil {
		return c.ctx.Err()
	}
	for what, texts := range map[string][]string{
		"guest": {string(c.Guest)}, "path": {c.Path}, "args": c.Args, "env": c.Env, "dir": {c.Dir},
	} {
		if err := withoutNUL(what, texts...); err != nil {
			return err
		}
	}
	input, err := c.input()
	if err != nil {
		return err
	}
	output, err := c.output(c.Stdout)
	if err != nil {
		return err
	}
	failures := output
	if !same(c.Stdout, c.Stderr) {
		if failures, err = c.output(c.Stderr); err != nil {
			return err
		}
	}
	// Copies, which nobody else closes: C may not return before the context has ended.
	var fds [3]int
	for i, file := range []*os.File{input, output, failures} {
		if fds[i], err = duplicate(file); err != nil {
			closeFds(fds[:i])
			return err
		}
	}
	type made struct {
		handle *C.krundl_exec
		err    error
	}
	started := make(chan made, 1)
	// What C is given stands before the caller can change it.
	call := c.call(fds)
	go func() {
		defer closeFds(fds[:])
		handle, err := call()
		started <- made{handle, err}
	}()
	var cancelled <-chan struct{}
	if c.ctx != nil {
		cancelled = c.ctx.Done()
	}
	select {
	case it := <-started:
		if it.err != nil {
			return it.err
		}
		c.handle, c.pid = it.handle, int(C.krundl_exec_pid(it.handle))
	case <-cancelled:
		go func() { C.krundl_exec_free((<-started).handle) }()
		return c.ctx.Err()
	}
	if c.pid != 0 {
		return nil
	}
	defer c.freed()
	exit, err := waited(c.handle)
	if err != nil {
		return err
	}
	c.Exit = &exit
	return &ExitError{Exit: exit}
}

// call is the start in C, with everything that it needs in C's memory.
func (c *Cmd) call(fds [3]int) func() (*C.krundl_exec, error) {
	texts := new(cTexts)
	options := C.krundl_exec_options{
		uid: C.uint32_t(c.UID), gid: C.uint32_t(c.GID), clear_env: C.bool(c.ClearEnv),
		connect_timeout_ms: C.uint64_t(c.ConnectTimeout.Milliseconds()),
	}
	options.struct_size = C.size_t(unsafe.Sizeof(options))
	options.env, options.workdir = texts.list(c.Env), texts.optional(c.Dir)
	options.input, options.input_fd = descriptor(fds[0])
	options.output, options.output_fd = descriptor(fds[1])
	options.error, options.error_fd = descriptor(fds[2])
	if c.Terminal != nil {
		options.terminal = true
		options.rows, options.columns = C.uint16_t(c.Terminal.Rows), C.uint16_t(c.Terminal.Columns)
	}
	guest, path, args := texts.text(string(c.Guest)), texts.text(c.Path), texts.list(c.Args)
	return func() (*C.krundl_exec, error) {
		defer texts.free()
		var handle *C.krundl_exec
		var failure *C.krundl_error
		if C.krundl_exec_new(guest, path, args, &options, &handle, &failure) != C.KRUNDL_STATUS_OK {
			return nil, taken(failure)
		}
		return handle, nil
	}
}

// waited waits in C, where data flows meanwhile.
func waited(handle *C.krundl_exec) (Exit, error) {
	var kind C.krundl_exit
	var status C.int32_t
	var failure *C.krundl_error
	if C.krundl_exec_wait(handle, -1, &kind, &status, &failure) != C.KRUNDL_STATUS_OK {
		return Exit{}, taken(failure)
	}
	return Exit{ExitKind(kind), int(status), C.GoString(C.krundl_exec_exit_text(handle))}, nil
}

// inC waits on a goroutine of its own: cgo cannot be interrupted.
func (c *Cmd) inC() {
	c.exit, c.err = waited(c.handle)
	c.freed()
	close(c.ended)
}

// freed closes C's ends of the streams as well, which ends the copying.
func (c *Cmd) freed() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	C.krundl_exec_free(c.handle)
	c.handle = nil
}

// watch ends the command when the context ends first.
func (c *Cmd) watch() {
	select {
	case <-c.ended:
		return
	case <-c.ctx.Done():
	}
	c.mutex.Lock()
	if c.handle != nil {
		c.cause = c.ctx.Err()
	}
	c.mutex.Unlock()
	cancel := c.Cancel
	if cancel == nil {
		cancel = c.Kill
	}
	_ = cancel()
	if c.WaitDelay <= 0 {
		return
	}
	delay := time.NewTimer(c.WaitDelay)
	defer delay.Stop()
	select {
	case <-c.ended:
	case <-delay.C:
		_ = c.Kill()
		close(c.late)
	}
}

// Wait waits until the command has ended and everything that it wrote has been copied. Its end other than with status 0 is an
// *ExitError; where the context has ended it, errors.Is finds the context's error in that.
func (c *Cmd) Wait() error {
	switch {
	case c.ended == nil || c.copied == nil:
		return errors.New("krundl: the command has not been started")
	case c.waited:
		return errors.New("krundl: the command has been waited for already")
	}
	c.waited = true
	defer closeAll(c.ours)
	select {
	case <-c.ended:
	case <-c.late:
		return ErrWaitDelay
	}
	var over <-chan time.Time
	if c.WaitDelay > 0 {
		delay := time.NewTimer(c.WaitDelay)
		defer delay.Stop()
		over = delay.C
	}
	var failed error
	for range c.copiers {
		select {
		case err := <-c.copied:
			if failed == nil {
				failed = err
			}
		case <-over:
			failed = ErrWaitDelay
		}
		if failed == ErrWaitDelay {
			break
		}
	}
	if c.err != nil {
		return c.err
	}
	c.Exit = &c.exit
	c.mutex.Lock()
	defer c.mutex.Unlock()
	switch {
	case !c.exit.Success():
		return &ExitError{Exit: c.exit, cause: c.cause}
	case c.cause != nil:
		return c.cause
	}
	return failed
}

// Run starts the command and waits for it.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the command and returns what it wrote to standard output. Where Stderr is nil, an *ExitError has the end of
// what it wrote there.
func (c *Cmd) Output() ([]byte, error) {
	if c.Stdout != nil {
		return nil, errors.New("krundl: Stdout is set already")
	}
	var output bytes.Buffer
	var end tail
	c.Stdout = &output
	capture := c.Stderr == nil
	if capture {
		c.Stderr = &end
	}
	err := c.Run()
	var failed *ExitError
	if errors.As(err, &failed) && capture {
		failed.Stderr = end.bytes
	}
	return output.Bytes(), err
}

// CombinedOutput runs the command and returns what it wrote to standard output and error.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	if c.Stdout != nil || c.Stderr != nil {
		return nil, errors.New("krundl: Stdout or Stderr is set already")
	}
	var output bytes.Buffer
	c.Stdout, c.Stderr = &output, &output
	err := c.Run()
	return output.Bytes(), err
}

// StdinPipe is a pipe to the command's standard input. Closing it is the end of the input; Wait closes it, too.
func (c *Cmd) StdinPipe() (io.WriteCloser, error) {
	if c.Stdin != nil {
		return nil, errors.New("krundl: Stdin is set already")
	}
	read, write, err := c.pipe()
	if err != nil {
		return nil, err
	}
	c.Stdin = read
	c.theirs, c.ours = append(c.theirs, read), append(c.ours, write)
	return write, nil
}

// StdoutPipe is a pipe from the command's standard output. Wait closes it, so it is read to its end before that.
func (c *Cmd) StdoutPipe() (io.ReadCloser, error) { return c.outputPipe(&c.Stdout, "Stdout") }

// StderrPipe is a pipe from the command's standard error, as StdoutPipe.
func (c *Cmd) StderrPipe() (io.ReadCloser, error) { return c.outputPipe(&c.Stderr, "Stderr") }

func (c *Cmd) outputPipe(stream *io.Writer, name string) (io.ReadCloser, error) {
	if *stream != nil {
		return nil, errors.New("krundl: " + name + " is set already")
	}
	read, write, err := c.pipe()
	if err != nil {
		return nil, err
	}
	*stream = write
	c.theirs, c.ours = append(c.theirs, write), append(c.ours, read)
	return read, nil
}

func (c *Cmd) pipe() (read, write *os.File, err error) {
	if c.started {
		return nil, nil, errors.New("krundl: the command has been started already")
	}
	return os.Pipe()
}

// Pid is the command's number in the guest; 0 before it has started.
func (c *Cmd) Pid() int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.pid
}

// Signal sends a signal to the command and its process group. os.ErrProcessDone: it has ended.
func (c *Cmd) Signal(signal os.Signal) error {
	number, ok := signal.(syscall.Signal)
	if !ok {
		return fmt.Errorf("krundl: %v is no signal that a guest knows", signal)
	}
	return c.running(func() { C.krundl_exec_signal(c.handle, C.int32_t(number)) })
}

// Kill kills the command and its process group (SIGKILL).
func (c *Cmd) Kill() error { return c.Signal(syscall.SIGKILL) }

// Resize tells the command's terminal its size.
func (c *Cmd) Resize(size Size) error {
	return c.running(func() { C.krundl_exec_resize(c.handle, C.uint16_t(size.Rows), C.uint16_t(size.Columns)) })
}

func (c *Cmd) running(call func()) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	switch {
	case c.handle != nil:
		call()
		return nil
	case c.pid != 0:
		return os.ErrProcessDone
	}
	return errors.New("krundl: the command has not been started")
}

// input is the other side's end of standard input.
func (c *Cmd) input() (*os.File, error) {
	if c.Stdin == nil {
		return nil, nil
	}
	if file, ok := c.Stdin.(*os.File); ok {
		return file, nil
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.theirs, c.ours = append(c.theirs, read), append(c.ours, write)
	from := c.Stdin
	c.copiers = append(c.copiers, func() error {
		_, err := io.Copy(write, from)
		if errors.Is(err, syscall.EPIPE) {
			// The command, or its interest in its input, ended first.
			err = nil
		}
		if closing := write.Close(); err == nil && !errors.Is(closing, os.ErrClosed) {
			err = closing
		}
		return err
	})
	return read, nil
}

// output is the other side's end of one of the outputs.
func (c *Cmd) output(to io.Writer) (*os.File, error) {
	if to == nil {
		return nil, nil
	}
	if file, ok := to.(*os.File); ok {
		return file, nil
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.theirs, c.ours = append(c.theirs, write), append(c.ours, read)
	c.copiers = append(c.copiers, func() error {
		_, err := io.Copy(to, read)
		// Who takes no more makes the command's next write fail.
		read.Close()
		return err
	})
	return write, nil
}

// same tells whether two writers are one, of which one goroutine at a time may call Write.
func same(one, other io.Writer) bool {
	defer func() {
		// Of a type that cannot be compared.
		_ = recover()
	}()
	return one != nil && one == other
}

// duplicate is -1 for nothing.
func duplicate(file *os.File) (int, error) {
	if file == nil {
		return -1, nil
	}
	conn, err := file.SyscallConn()
	if err != nil {
		return -1, err
	}
	var copied uintptr
	var errno syscall.Errno
	err = conn.Control(func(fd uintptr) {
		copied, _, errno = syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_DUPFD_CLOEXEC, 0)
	})
	if err == nil && errno != 0 {
		err = os.NewSyscallError("fcntl", errno)
	}
	return int(copied), err
}

func descriptor(fd int) (C.int32_t, C.int32_t) {
	if fd < 0 {
		return C.KRUNDL_STREAM_NULL, -1
	}
	return C.KRUNDL_STREAM_DESCRIPTOR, C.int32_t(fd)
}

func closeFds(fds []int) {
	for _, fd := range fds {
		if fd >= 0 {
			_ = syscall.Close(fd)
		}
	}
}

func closeAll(files []*os.File) {
	for _, file := range files {
		file.Close()
	}
}

// tail keeps the end of what is written to it.
type tail struct{ bytes []byte }

func (t *tail) Write(more []byte) (int, error) {
	const limit = 32 << 10
	t.bytes = append(t.bytes, more...)
	if over := len(t.bytes) - limit; over > 0 {
		t.bytes = append(t.bytes[:0], t.bytes[over:]...)
	}
	return len(more), nil
}
