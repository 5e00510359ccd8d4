package krundl

/*
#include <krundl.h>
#include <stdlib.h>
*/
import "C"

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"time"
	"unsafe"
)

// LaunchOptions say how a VM's process is started.
type LaunchOptions struct {
	// Helper is krundl-vmm; empty: KRUNDL_VMM, then a search.
	Helper string
	// Stdin, Stdout and Stderr are the workload's; nil is nothing, as in os/exec. They stay the caller's.
	Stdin, Stdout, Stderr *os.File
	// StartTimeout is how long it may take until libkrun is entered; 0: 30 seconds.
	StartTimeout time.Duration
	// DieWithParent ends the VM with this process, however that ends.
	DieWithParent bool
	// NewSession takes it away from the caller's terminal and its signals.
	NewSession bool
}

// ExitKind is how a VM ended.
type ExitKind int

// The ways in which a VM ends.
const (
	ExitCode        ExitKind = C.KRUNDL_EXIT_CODE
	ExitSignal      ExitKind = C.KRUNDL_EXIT_SIGNAL
	ExitNotExecuted ExitKind = C.KRUNDL_EXIT_NOT_EXECUTED
	ExitStopped     ExitKind = C.KRUNDL_EXIT_STOPPED
	ExitUnproved    ExitKind = C.KRUNDL_EXIT_UNPROVED
)

// Exit is how a VM ended; Status is as a shell would put it.
type Exit struct {
	Kind   ExitKind
	Status int
	Text   string
}

func (e Exit) String() string { return e.Text }

// Success tells whether the workload ran and exited with status 0, on the guest's word.
func (e Exit) Success() bool { return e.Kind == ExitCode && e.Status == 0 }

// VM runs, or has ended. Any goroutine may call anything at any time.
//
// Waiting in C cannot be cancelled, so one goroutine at most waits there for readiness and one for the end, whoever asks
// and however often; Close ends both.
type VM struct {
	handle *C.krundl_vm

	mutex   sync.Mutex
	closed  bool
	waiters sync.WaitGroup
	ready   *waiting
	end     *waiting
}

type waiting struct {
	done chan struct{}
	exit Exit
	err  error
}

// ErrClosed is what is told of a VM after Close or Detach.
var ErrClosed = errors.New("krundl: the VM is closed")

// ErrWaiting is what Detach says while somebody waits for the VM, also where a context has ended the waiting: cgo cannot
// be interrupted, so a goroutine is still in C.
var ErrWaiting = errors.New("krundl: the VM cannot be let go while it is waited for")

// Launch starts a VM. It returns when libkrun has been entered.
func (p *Plan) Launch(options LaunchOptions) (*VM, error) {
	var texts cTexts
	defer texts.free()
	c := C.krundl_launch_options{
		helper:           texts.optional(options.Helper),
		start_timeout_ms: C.uint64_t(options.StartTimeout.Milliseconds()),
		die_with_parent:  C.bool(options.DieWithParent),
		new_session:      C.bool(options.NewSession),
	}
	c.struct_size = C.size_t(unsafe.Sizeof(c))
	c.input, c.input_fd = stream(options.Stdin)
	c.output, c.output_fd = stream(options.Stdout)
	c.error, c.error_fd = stream(options.Stderr)
	var vm *C.krundl_vm
	var failure *C.krundl_error
	status := C.krundl_launch(p.handle, &c, &vm, &failure)
	runtime.KeepAlive(options)
	if status != C.KRUNDL_STATUS_OK {
		return nil, taken(failure)
	}
	return &VM{handle: vm}, nil
}

func stream(file *os.File) (C.int32_t, C.int32_t) {
	if file == nil {
		return C.KRUNDL_STREAM_NULL, -1
	}
	return C.KRUNDL_STREAM_DESCRIPTOR, C.int32_t(file.Fd())
}

// Pid is the number of the VM's process.
func (v *VM) Pid() int {
	pid := 0
	_ = v.with(func() error { pid = int(C.krundl_vm_pid(v.handle)); return nil })
	return pid
}

// HostPort is the number of the host's port that leads to that port of the guest through passt or gvproxy, also where the spec
// left it open; 0 where there is none. An empty protocol is TCP.
func (v *VM) HostPort(protocol Protocol, guest uint16) uint16 {
	if protocol == "" {
		protocol = ProtocolTcp
	}
	var texts cTexts
	defer texts.free()
	var host uint16
	_ = v.with(func() error {
		host = uint16(C.krundl_vm_host_port(v.handle, texts.text(string(protocol)), C.uint16_t(guest)))
		return nil
	})
	return host
}

// WaitReady waits for the guest's first word: everything is mounted and the workload runs. When the context ends first,
// its error is returned and nothing happens to the VM.
func (v *VM) WaitReady(ctx context.Context) error {
	_, err := v.wait(ctx, &v.ready, func(it *waiting) {
		var failure *C.krundl_error
		if C.krundl_vm_wait_ready(v.handle, -1, &failure) != C.KRUNDL_STATUS_OK {
			it.err = taken(failure)
		}
	})
	return err
}

// Wait waits until the VM has ended and says how. When the context ends first, its error is returned and nothing happens
// to the VM.
func (v *VM) Wait(ctx context.Context) (Exit, error) {
	return v.wait(ctx, &v.end, func(it *waiting) {
		var kind C.krundl_exit
		var status C.int32_t
		var failure *C.krundl_error
		if C.krundl_vm_wait(v.handle, -1, &kind, &status, &failure) != C.KRUNDL_STATUS_OK {
			it.err = taken(failure)
			return
		}
		it.exit = Exit{ExitKind(kind), int(status), C.GoString(C.krundl_vm_exit_text(v.handle))}
	})
}

func (v *VM) wait(ctx context.Context, slot **waiting, inC func(*waiting)) (Exit, error) {
	v.mutex.Lock()
	if *slot == nil {
		if v.closed {
			v.mutex.Unlock()
			return Exit{}, ErrClosed
		}
		it := &waiting{done: make(chan struct{})}
		*slot = it
		v.waiters.Add(1)
		go func() {
			defer v.waiters.Done()
			defer close(it.done)
			inC(it)
		}()
	}
	it := *slot
	v.mutex.Unlock()
	select {
	case <-it.done:
		return it.exit, it.err
	case <-ctx.Done():
		return Exit{}, ctx.Err()
	}
}

// Terminate asks the workload to end (SIGTERM), and tells whether it could be asked. Where it cannot, because it is not up
// yet, the VM ends at once.
func (v *VM) Terminate() (workload bool, err error) {
	err = v.with(func() error {
		var asked C.bool
		var failure *C.krundl_error
		if C.krundl_vm_terminate(v.handle, &asked, &failure) != C.KRUNDL_STATUS_OK {
			return taken(failure)
		}
		workload = bool(asked)
		return nil
	})
	return workload, err
}

// Interrupt presses ^C on the guest's console, where it reaches the workload if the workload's streams are there.
func (v *VM) Interrupt() error {
	return v.with(func() error {
		var failure *C.krundl_error
		if C.krundl_vm_interrupt(v.handle, &failure) != C.KRUNDL_STATUS_OK {
			return taken(failure)
		}
		return nil
	})
}

// Kill kills the VM's process (SIGKILL).
func (v *VM) Kill() error {
	return v.with(func() error {
		var failure *C.krundl_error
		if C.krundl_vm_kill(v.handle, &failure) != C.KRUNDL_STATUS_OK {
			return taken(failure)
		}
		return nil
	})
}

// Stop asks the VM to end, kills it when the context ends first, and waits for it.
func (v *VM) Stop(ctx context.Context) (Exit, error) {
	if _, err := v.Terminate(); err != nil {
		return Exit{}, err
	}
	exit, err := v.Wait(ctx)
	if err == nil || ctx.Err() == nil {
		return exit, err
	}
	if err := v.Kill(); err != nil {
		return Exit{}, err
	}
	return v.Wait(context.Background())
}

// Log is what libkrun has written so far, at most about 128 KiB.
func (v *VM) Log() []byte {
	var log []byte
	_ = v.with(func() error {
		log = make([]byte, 160*1024)
		length := int(C.krundl_vm_log(v.handle, (*C.char)(unsafe.Pointer(&log[0])), C.size_t(len(log))))
		if length < len(log) {
			log = log[:length]
		}
		return nil
	})
	return log
}

// Close kills a VM that still runs and frees everything. It may be called twice.
func (v *VM) Close() {
	v.mutex.Lock()
	defer v.mutex.Unlock()
	if v.closed {
		return
	}
	v.closed = true
	C.krundl_vm_kill(v.handle, nil)
	v.waiters.Wait()
	C.krundl_vm_free(v.handle)
	v.handle = nil
}

// Detach lets the VM run on and returns the number of its process, which the caller has to reap; nobody keeps its log any
// more. The VM is closed then.
func (v *VM) Detach() (pid int, err error) {
	v.mutex.Lock()
	defer v.mutex.Unlock()
	if v.closed {
		return 0, ErrClosed
	}
	for _, it := range []*waiting{v.ready, v.end} {
		if it == nil {
			continue
		}
		select {
		case <-it.done:
		default:
			return 0, ErrWaiting
		}
	}
	v.closed = true
	pid = int(C.krundl_vm_detach(v.handle))
	v.handle = nil
	return pid, nil
}

// with calls a function while the VM is there.
func (v *VM) with(call func() error) error {
	v.mutex.Lock()
	defer v.mutex.Unlock()
	if v.closed {
		return ErrClosed
	}
	return call()
}
