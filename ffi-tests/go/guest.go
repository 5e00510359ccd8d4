package krundl

/*
#include <krundl.h>
#include <stdlib.h>
*/
import "C"

import (
	"context"
	"strings"
	"time"
	"unsafe"
)

// Guest is a guest that runs, in a VM of this or another process of the same user: the VM's name (krundl run --name), or the
// path of its control socket, with a slash.
type Guest string

// connectTimeout is how long a guest that does not answer yet is waited for where nobody says otherwise.
const connectTimeout = 10 * time.Second

// Guest is the VM's own, for a spec that has Control.
func (v *VM) Guest() (Guest, error) {
	var guest Guest
	err := v.with(func() error {
		socket := C.krundl_vm_control(v.handle)
		if socket == nil {
			return &Error{Status: InvalidArgument, Message: "the VM has no control port: its spec has no Control"}
		}
		guest = Guest(C.GoString(socket))
		return nil
	})
	return guest, err
}

// Figures are a guest's at one moment. What its kernel does not tell is 0.
type Figures struct {
	// Uptime is since the guest's kernel started.
	Uptime time.Duration
	// CPUs are the processors that are running.
	CPUs int
	// CPU is what they did since then.
	CPU CPUTimes
	// Memory is the guest's.
	Memory MemoryFigures
	// Load is how many processes run or wait for a disk, on average over 1, 5 and 15 minutes.
	Load [3]float64
	// Processes are those that there are.
	Processes int
}

// CPUTimes are of all processors together, in steps of 10 ms.
type CPUTimes struct {
	// User is in programs, and System in the kernel.
	User, System time.Duration
	// Idle is with nothing to do, and Wait with nothing but to wait for a disk.
	Idle, Wait time.Duration
	// Stolen was taken away by the host, as far as it says so.
	Stolen time.Duration
}

// MemoryFigures are in bytes.
type MemoryFigures struct {
	// Total is what the guest's kernel has to give, and Free what is in use for nothing.
	Total, Free uint64
	// Available is what programs could still get, by the kernel's estimate.
	Available uint64
	// Cached are files kept in memory.
	Cached uint64
}

// BusySince is how busy the processors were since earlier figures of the same guest, from 0 to 1, of all of them together;
// 0 where no time has passed.
func (f Figures) BusySince(earlier Figures) float64 {
	busy := func(t CPUTimes) time.Duration { return t.User + t.System + t.Stolen }
	all := func(t CPUTimes) time.Duration { return busy(t) + t.Idle + t.Wait }
	passed := all(f.CPU) - all(earlier.CPU)
	worked := busy(f.CPU) - busy(earlier.CPU)
	if passed <= 0 || worked <= 0 {
		return 0
	}
	return float64(worked) / float64(passed)
}

// Figures asks for the guest's figures. A guest that does not answer yet is waited for until the context ends, for 10 seconds
// where it has no deadline.
func (g Guest) Figures(ctx context.Context) (Figures, error) {
	var c C.krundl_figures
	err := g.ask(ctx, func(guest *C.char, ms C.int64_t, failure **C.krundl_error) C.krundl_status {
		c.struct_size = C.size_t(unsafe.Sizeof(c))
		return C.krundl_guest_figures(guest, ms, &c, failure)
	})
	if err != nil {
		// Where the context has ended, C may still write to it.
		return Figures{}, err
	}
	ms := func(ms C.uint64_t) time.Duration { return time.Duration(ms) * time.Millisecond }
	return Figures{
		Uptime: ms(c.uptime_ms),
		CPUs:   int(c.cpus),
		CPU: CPUTimes{
			User: ms(c.cpu_user_ms), System: ms(c.cpu_system_ms), Idle: ms(c.cpu_idle_ms), Wait: ms(c.cpu_wait_ms),
			Stolen: ms(c.cpu_stolen_ms),
		},
		Memory: MemoryFigures{
			Total: uint64(c.memory_total), Free: uint64(c.memory_free), Available: uint64(c.memory_available),
			Cached: uint64(c.memory_cached),
		},
		Load:      [3]float64{float64(c.load_1), float64(c.load_5), float64(c.load_15)},
		Processes: int(c.processes),
	}, nil
}

// Terminate asks the guest's workload to end (SIGTERM); whoever launched the VM hears what it made of that. It waits as Figures
// does.
func (g Guest) Terminate(ctx context.Context) error {
	return g.ask(ctx, func(guest *C.char, ms C.int64_t, failure **C.krundl_error) C.krundl_status {
		return C.krundl_guest_terminate(guest, ms, failure)
	})
}

// ask calls C on a goroutine of its own, which stays there until C returns, also where the context ends first.
func (g Guest) ask(
	ctx context.Context, call func(guest *C.char, ms C.int64_t, failure **C.krundl_error) C.krundl_status,
) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := withoutNUL("guest", string(g)); err != nil {
		return err
	}
	patience := connectTimeout
	if deadline, ok := ctx.Deadline(); ok {
		patience = time.Until(deadline)
	}
	answered := make(chan error, 1)
	go func() {
		var texts cTexts
		defer texts.free()
		var failure *C.krundl_error
		if call(texts.text(string(g)), C.int64_t(patience.Milliseconds()), &failure) != C.KRUNDL_STATUS_OK {
			answered <- taken(failure)
			return
		}
		answered <- nil
	}()
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// withoutNUL refuses what would end early as a C string.
func withoutNUL(what string, texts ...string) error {
	for _, text := range texts {
		if strings.IndexByte(text, 0) >= 0 {
			return &Error{Status: InvalidArgument, Message: what + " holds a NUL, which C cannot have"}
		}
	}
	return nil
}
