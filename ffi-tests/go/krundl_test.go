package krundl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// at is a path below the directory that krundl-test-stubs has filled.
func at(t *testing.T, path string) string {
	t.Helper()
	cases := os.Getenv("KRUNDL_TEST_CASES")
	if cases == "" {
		t.Fatal("KRUNDL_TEST_CASES does not say where krundl-test-stubs has built its libraries")
	}
	return filepath.Join(cases, path)
}

func probe(t *testing.T, name, release string) *Probe {
	t.Helper()
	probe, err := NewProbe(ProbeOptions{Library: at(t, "libraries/"+name+"/libkrun.so."+release)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(probe.Close)
	return probe
}

func spec(t *testing.T) Spec {
	return Spec{
		VCPUs: 1, MemoryMiB: 256,
		Root:   &Root{Dir: at(t, "files/root")},
		Mounts: []Mount{{Host: at(t, "files/data"), ReadOnly: true}},
		Exec:   &Exec{Path: "/bin/sh", Args: Texts("-c", "true")},
	}
}

func launch(t *testing.T, name string) *VM {
	t.Helper()
	plan, err := probe(t, name, "1.19.7").Plan(spec(t))
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	vm, err := plan.Launch(LaunchOptions{DieWithParent: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(vm.Close)
	return vm
}

func TestAVMFromBeginningToEnd(t *testing.T) {
	vm := launch(t, "exits-7")
	if err := vm.WaitReady(context.Background()); err != nil {
		t.Fatal(err)
	}
	exit, err := vm.Wait(context.Background())
	if err != nil || exit.Kind != ExitCode || exit.Status != 7 || exit.Success() {
		t.Fatal(exit, err)
	}
	if exit.String() != "the workload exited with status 7" {
		t.Fatal(exit.String())
	}
	vm.Close()
	if err := vm.Kill(); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if again, err := vm.Wait(context.Background()); err != nil || again != exit {
		t.Fatal("what was told stays told", again, err)
	}
}

func TestAContextEndsTheWaitingAndNotTheVM(t *testing.T) {
	vm := launch(t, "hangs")
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if err := vm.WaitReady(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := vm.Wait(cancelled); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := syscall.Kill(vm.Pid(), 0); err != nil {
		t.Fatal("the VM is gone:", err)
	}
	exit, err := vm.Stop(context.Background())
	if err != nil || exit.Kind != ExitStopped || exit.Status != 128+int(syscall.SIGTERM) {
		t.Fatal(exit, err)
	}
}

func TestClosingEndsTheVMAndWhoeverWaits(t *testing.T) {
	vm := launch(t, "hangs")
	pid := vm.Pid()
	ended := make(chan error)
	for i := 0; i < 4; i++ {
		go func() {
			_, err := vm.Wait(context.Background())
			ended <- err
		}()
	}
	time.Sleep(20 * time.Millisecond)
	vm.Close()
	for i := 0; i < 4; i++ {
		if err := <-ended; err != nil && !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Fatal("the VM still runs")
	}
}

func TestAWorkloadThatIsUpIsAsked(t *testing.T) {
	vm := launch(t, "obeys")
	if err := vm.WaitReady(context.Background()); err != nil {
		t.Fatal(err)
	}
	if workload, err := vm.Terminate(); err != nil || !workload {
		t.Fatal(workload, err)
	}
	exit, err := vm.Wait(context.Background())
	if err != nil || exit.Kind != ExitSignal || exit.Status != 128+int(syscall.SIGTERM) {
		t.Fatal("it is the workload's own end, not that of its VM", exit, err)
	}
	if workload, err := launch(t, "hangs").Terminate(); err != nil || workload {
		t.Fatal("nothing is up that could be asked", workload, err)
	}
}

func TestCtrlCReachesTheWorkload(t *testing.T) {
	vm := launch(t, "hears-ctrl-c")
	if err := vm.WaitReady(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := vm.Interrupt(); err != nil {
		t.Fatal(err)
	}
	exit, err := vm.Wait(context.Background())
	if err != nil || exit.Kind != ExitSignal || exit.Status != 128+int(syscall.SIGINT) {
		t.Fatal(exit, err)
	}
}

func TestAVMThatIsLetGoRunsOn(t *testing.T) {
	vm := launch(t, "runs")
	if err := vm.WaitReady(context.Background()); err != nil {
		t.Fatal(err)
	}
	now, cancel := context.WithCancel(context.Background())
	cancel()
	pid, err := vm.Detach()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vm.Wait(now); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if _, err := vm.Detach(); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	vm.Close()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal("the VM is gone:", err)
	}
	var status syscall.WaitStatus
	if reaped, err := syscall.Wait4(pid, &status, 0, nil); err != nil || reaped != pid || status.Signal() != syscall.SIGKILL {
		t.Fatal("it is the caller's to reap:", reaped, err, status)
	}

	vm = launch(t, "hangs")
	if _, err := vm.Wait(now); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := vm.Detach(); !errors.Is(err, ErrWaiting) {
		t.Fatal(err)
	}
}

func TestWhatIsInTheWayIsToldWithoutAPlan(t *testing.T) {
	old, wanted := probe(t, "1.17.4", "1.17.4"), spec(t)
	wanted.Sound = true
	problems, err := old.Check(wanted)
	if err != nil || len(problems) != 2 {
		t.Fatal(problems, err)
	}
	if problems[0].Field != "sound" || problems[0].BuiltWith != "snd" || problems[1].Field != "mounts[0].read_only" {
		t.Fatal(problems)
	}
	if problems, err := probe(t, "1.19.7", "1.19.7").Check(spec(t)); err != nil || problems != nil {
		t.Fatal(problems, err)
	}
	wanted.Mounts[0].Host = "/\xff"
	if _, err := old.Check(wanted); !errors.Is(err, InvalidArgument) || !strings.Contains(err.Error(), "Mounts[0].Host") {
		t.Fatal(err)
	}
}

func TestAFileIsReadWithoutBeingOpened(t *testing.T) {
	// It aborts when it is opened.
	library := at(t, "libraries/aborts/libkrun.so.1.18.0")
	found, err := Inspect("", library, at(t, "libraries/text/libkrun.so.1"), "/bin/sh")
	if err != nil || len(found) != 3 {
		t.Fatal(found, err)
	}
	if found[0].Path != library || found[0].Err != nil || len(found[0].Parts) != 1 {
		t.Fatal(found[0])
	}
	part := found[0].Parts[0]
	if part.Version == nil || part.Version.Range != "=1.18.0" || len(part.Version.Evidence) < 3 {
		t.Fatal(part.Version)
	}
	if !part.Functions["krun_add_virtiofs3"] || part.Functions["krun_add_virtiofs4"] || !part.Features["net"] {
		t.Fatal(part.Functions, part.Features)
	}
	if part.Format != "elf" || part.Soname != "libkrun.so.1" || part.Flavour != "plain" || len(part.Needed) == 0 {
		t.Fatal(part)
	}
	if found[1].Err == nil || found[1].Err.Kind != "not_a_library" || found[1].Err.Error() == "" {
		t.Fatal(found[1])
	}
	if found[2].Parts[0].Version != nil || found[2].Parts[0].Functions["krun_create_ctx"] {
		t.Fatal("a program is no libkrun", found[2])
	}
	// Nothing of what krundl tells is left out.
	text, err := inspectJSON("", []string{library, "/nowhere"})
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err != nil || strict.Decode(&found) != nil {
		t.Fatal(err, string(text))
	}
	if found, err := Inspect(at(t, "files/empty")); err != nil || len(found) != 0 {
		t.Fatal("a root without one", found, err)
	}
	if _, err := Inspect(""); !errors.Is(err, InvalidArgument) {
		t.Fatal(err)
	}
}

func TestErrorsAreGosErrors(t *testing.T) {
	_, err := probe(t, "1.17.4", "1.17.4").Plan(spec(t))
	var failure *Error
	if !errors.Is(err, Unsupported) || errors.Is(err, InvalidSpec) || !errors.As(err, &failure) {
		t.Fatal(err)
	}
	want := Problem{Kind: "unsupported", Field: "mounts[0].read_only", Function: "krun_add_virtiofs3", Since: "1.18.0"}
	if len(failure.Problems) != 1 {
		t.Fatal(failure.Problems)
	}
	got := failure.Problems[0]
	want.Reason, want.BuiltWith, want.Fix = got.Reason, "not tee, not aws-nitro", "install libkrun 1.18.0 or later"
	if got != want || !strings.Contains(err.Error(), got.Reason) {
		t.Fatal(got)
	}
	_, err = NewProbe(ProbeOptions{Library: "/nowhere/libkrun.so.1"})
	if !errors.Is(err, LibraryNotFound) || LibraryNotFound.Error() != "library_not_found" {
		t.Fatal(err)
	}
}

func TestTheWorkloadsStreamsAreFiles(t *testing.T) {
	plan, err := probe(t, "succeeds", "1.19.7").Plan(spec(t))
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	vm, err := plan.Launch(LaunchOptions{Stdout: write, NewSession: true})
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	write.Close()
	if n, err := read.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Fatal(n, err)
	}
	if exit, err := vm.Wait(context.Background()); err != nil || !exit.Success() {
		t.Fatal(exit, err)
	}
	if vm.Log() == nil {
		t.Fatal("no log")
	}
}

func TestEightAtATime(t *testing.T) {
	shared := probe(t, "exits-7", "1.19.7")
	plan, err := shared.Plan(spec(t))
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	var all sync.WaitGroup
	for i := 0; i < 8; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			if shared.Level("virtiofs") != 4 || !strings.Contains(plan.String(), "krun_start_enter") {
				t.Error("a shared handle answers otherwise")
			}
			vm, err := plan.Launch(LaunchOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			defer vm.Close()
			if exit, err := vm.Wait(context.Background()); err != nil || exit.Status != 7 {
				t.Error(exit, err)
			}
		}()
	}
	all.Wait()
}

// A case of tests/cases/cases.json.
type expectedCase struct {
	Name, Library string
	Helper, Spec  *string
	Run           bool
	Found         *found
	Calls         []string
	Ready, Error  *failed
	Exit          *exited
}

type found struct {
	Generation, Version string
	Levels              map[string]int
	Support, Features   map[string]string
}

type failed struct {
	Code           Status
	Name, Function string
	Errno          int
	Problems       []struct{ Field, Kind, Function, Since string }
	Attempts       []struct{ Origin, Kind string }
}

type exited struct {
	Kind   string
	Status int
}

func told(err error) *failed {
	var failure *Error
	if !errors.As(err, &failure) {
		return &failed{Name: err.Error()}
	}
	f := &failed{
		Code: failure.Status, Name: failure.Status.Error(), Function: failure.Function, Errno: int(failure.Errno),
	}
	for _, p := range failure.Problems {
		f.Problems = append(f.Problems, struct{ Field, Kind, Function, Since string }{p.Field, p.Kind, p.Function, p.Since})
	}
	for _, a := range failure.Attempts {
		f.Attempts = append(f.Attempts, struct{ Origin, Kind string }{a.Origin, a.Kind})
	}
	return f
}

// answer fills in what was found out, and leaves what was asked for.
func answer(it *expectedCase) expectedCase {
	got := expectedCase{Name: it.Name, Library: it.Library, Helper: it.Helper, Spec: it.Spec, Run: it.Run}
	options := ProbeOptions{Library: it.Library}
	if it.Helper != nil {
		options.Helper = *it.Helper
	}
	probe, err := NewProbe(options)
	if err != nil {
		got.Error = told(err)
		return got
	}
	defer probe.Close()
	if it.Spec == nil {
		generation := "unknown"
		if probe.IsKnownGeneration() {
			generation = "one"
		}
		got.Found = &found{generation, probe.LibkrunVersion(), map[string]int{}, map[string]string{}, map[string]string{}}
		for name := range it.Found.Levels {
			got.Found.Levels[name] = probe.Level(name)
		}
		for name := range it.Found.Support {
			got.Found.Support[name] = probe.Support(name)
		}
		for name := range it.Found.Features {
			got.Found.Features[name] = probe.Feature(name)
		}
		return got
	}
	plan, err := probe.PlanJSON([]byte(*it.Spec))
	if err != nil {
		got.Error = told(err)
		return got
	}
	defer plan.Close()
	if !it.Run {
		got.Calls = plan.Calls()
		return got
	}
	vm, err := plan.Launch(LaunchOptions{StartTimeout: 1500 * time.Millisecond})
	if err != nil {
		got.Error = told(err)
		return got
	}
	defer vm.Close()
	ready, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if err := vm.WaitReady(ready); errors.Is(err, ReadinessUnknown) {
		got.Ready = told(err)
	} else if errors.Is(err, context.DeadlineExceeded) {
		// In Go it is the context that says so.
		got.Ready = it.Ready
		_ = vm.Kill()
	}
	exit, err := vm.Wait(context.Background())
	if err != nil {
		got.Error = told(err)
		return got
	}
	kinds := map[ExitKind]string{
		ExitCode: "code", ExitSignal: "signal", ExitNotExecuted: "not_executed", ExitStopped: "stopped",
		ExitUnproved: "unproved",
	}
	got.Exit = &exited{kinds[exit.Kind], exit.Status}
	return got
}

func TestEveryCaseHasTheAnswerThatItExpects(t *testing.T) {
	text, err := os.ReadFile(at(t, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []expectedCase }
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Cases) < 60 {
		t.Fatal(len(file.Cases), "cases")
	}
	for i := range file.Cases {
		it := &file.Cases[i]
		if got := answer(it); !reflect.DeepEqual(got, *it) {
			have, _ := json.Marshal(got)
			want, _ := json.Marshal(it)
			t.Errorf("%s:\n%s\ninstead of\n%s", it.Name, have, want)
		}
	}
}
