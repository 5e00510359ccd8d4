// Command launch runs a command in a microVM, with a directory of the host at /workspace.
//
//	launch ROOT DIRECTORY COMMAND [ARGUMENT...]
//
// The exit status is the workload's own; krundl's failures are 125.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"krundl"
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: launch ROOT DIRECTORY COMMAND [ARGUMENT...]")
		os.Exit(2)
	}
	status, err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "launch:", err)
		var failure *krundl.Error
		if errors.As(err, &failure) {
			for _, problem := range failure.Problems {
				if problem.Function != "" {
					fmt.Fprintf(os.Stderr, "launch: %s takes %s of libkrun %s\n", problem.Field, problem.Function, problem.Since)
				}
			}
		}
		os.Exit(125)
	}
	os.Exit(status)
}

func run(root, directory, command string, arguments []string) (int, error) {
	probe, err := krundl.NewProbe(krundl.ProbeOptions{})
	if err != nil {
		return 0, err
	}
	defer probe.Close()
	plan, err := probe.Plan(krundl.Spec{
		VCPUs: 1, MemoryMiB: 256,
		Root:   &krundl.Root{Dir: root},
		Mounts: []krundl.Mount{{Host: directory, Guest: "/workspace"}},
		Exec:   &krundl.Exec{Path: krundl.Text(command), Args: krundl.Texts(arguments...)},
	})
	if err != nil {
		return 0, err
	}
	defer plan.Close()
	vm, err := plan.Launch(krundl.LaunchOptions{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, DieWithParent: true,
	})
	if err != nil {
		return 0, err
	}
	defer vm.Close()
	ready, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := vm.WaitReady(ready); err != nil {
		return 0, err
	}
	exit, err := vm.Wait(context.Background())
	if err != nil {
		return 0, err
	}
	fmt.Fprintln(os.Stderr, "launch:", exit)
	return exit.Status, nil
}
