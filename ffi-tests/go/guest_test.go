//go:build lab

package krundl

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A real guest, whose root KRUNDL_TEST_ROOT names.
func TestARealGuest(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	probe, err := NewProbe(ProbeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Close()
	plan, err := probe.Plan(Spec{
		VCPUs: 1, MemoryMiB: 256, Root: &Root{Dir: os.Getenv("KRUNDL_TEST_ROOT")}, Control: &Control{},
		Exec: &Exec{Path: "/bin/sh", Args: Texts("-c", "trap 'exit 9' TERM; while :; do sleep 0.2; done")},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	vm, err := plan.Launch(LaunchOptions{Stderr: os.Stderr, DieWithParent: true})
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	guest, err := vm.Guest()
	if err != nil {
		t.Fatal(err)
	}
	// It waits until the guest is up.
	before, err := guest.Figures(ctx)
	if err != nil || before.CPUs != 1 || before.Uptime <= 0 || before.Processes == 0 {
		t.Fatal(before, err)
	}
	if total := before.Memory.Total; total < 128<<20 || total > 512<<20 || before.Memory.Available == 0 {
		t.Fatal(before.Memory)
	}

	cmd := guest.CommandContext(ctx, "sh", "-c", "cat; echo $A >&2; exit 3")
	cmd.Env = []string{"A=variable"}
	sent := strings.Repeat("0123456789abcdef", 1<<14)
	cmd.Stdin = strings.NewReader(sent)
	output, err := cmd.Output()
	var failed *ExitError
	if !errors.As(err, &failed) || failed.Status != 3 || string(failed.Stderr) != "variable\n" || string(output) != sent {
		t.Fatal(len(output), err)
	}
	cmd = guest.CommandContext(ctx, "sh", "-c", "id -u; id -g; pwd; echo $A")
	cmd.UID, cmd.GID, cmd.Dir, cmd.ClearEnv = 5, 6, "/proc", true
	if output, err := cmd.Output(); err != nil || string(output) != "5\n6\n/proc\n\n" {
		t.Fatalf("%q %v", output, err)
	}
	if err := guest.CommandContext(ctx, "/no/such/program").Run(); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	cmd = guest.CommandContext(ctx, "sh", "-c", "tty; stty size")
	cmd.Terminal = &Size{Rows: 24, Columns: 80}
	if output, err := cmd.Output(); err != nil || string(output) != "/dev/pts/0\r\n24 80\r\n" {
		t.Fatalf("%q %v", output, err)
	}

	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	err = guest.CommandContext(short, "sleep", "1000").Run()
	if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &failed) || failed.Kind != ExitSignal {
		t.Fatal(err)
	}
	// What somebody reads no more ends, as in a pipeline.
	cmd = guest.CommandContext(ctx, "yes")
	read, err := cmd.StdoutPipe()
	if err != nil || cmd.Start() != nil {
		t.Fatal(err)
	}
	if _, err := read.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	read.Close()
	if err := cmd.Wait(); !errors.As(err, &failed) {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := 0; i < 4; i++ {
		all.Add(1)
		go func(n string) {
			defer all.Done()
			if output, err := guest.CommandContext(ctx, "echo", n).Output(); err != nil || string(output) != n+"\n" {
				t.Error(string(output), err)
			}
		}(strconv.Itoa(i))
	}
	all.Wait()

	after, err := guest.Figures(ctx)
	if err != nil || after.Uptime <= before.Uptime || after.BusySince(before) <= 0 || after.BusySince(before) > 1 {
		t.Fatal(before, after, err)
	}
	if err := guest.Terminate(ctx); err != nil {
		t.Fatal(err)
	}
	if exit, err := vm.Wait(ctx); err != nil || exit.Kind != ExitCode || exit.Status != 9 {
		t.Fatal(exit, err)
	}
}
