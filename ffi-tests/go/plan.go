package krundl

/*
#include <krundl.h>
*/
import "C"

import "encoding/json"

// Spec describes a microVM: the fields that most VMs need. PlanJSON takes everything that docs/spec.md has.
type Spec struct {
	VCPUs uint32 `json:"vcpus"`
	// MemoryMiB is the guest's memory in MiB (2^20 bytes).
	MemoryMiB uint32  `json:"memory_mib"`
	Root      Root    `json:"root"`
	Mounts    []Mount `json:"mounts,omitempty"`
	Exec      Exec    `json:"exec"`
}

// Root is a directory of the host as the guest's root.
type Root struct {
	Dir      string `json:"dir"`
	ReadOnly bool   `json:"read_only,omitempty"`
}

// Mount is a directory of the host that the guest sees at Guest, "/workspace" where that is empty.
type Mount struct {
	Host     string `json:"host"`
	Guest    string `json:"guest,omitempty"`
	ReadOnly bool   `json:"read_only,omitempty"`
}

// Exec is the workload; Args do not count its own name.
type Exec struct {
	Path string            `json:"path"`
	Args []string          `json:"args,omitempty"`
	Env  map[string]string `json:"env,omitempty"`
}

// Plan is an ordered list of calls, with everything open that was checked for it. Any goroutine may read and launch it,
// any number of times; Close comes last.
type Plan struct{ handle *C.krundl_plan }

// Plan checks a spec against this host and negotiates it with this libkrun. The error has every reason why not.
func (p *Probe) Plan(spec Spec) (*Plan, error) {
	text, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	return p.PlanJSON(text)
}

// PlanJSON is Plan for a spec as docs/spec.md has it.
func (p *Probe) PlanJSON(spec []byte) (*Plan, error) {
	var texts cTexts
	defer texts.free()
	var plan *C.krundl_plan
	var failure *C.krundl_error
	if C.krundl_plan_from_json(p.handle, texts.text(string(spec)), &plan, &failure) != C.KRUNDL_STATUS_OK {
		return nil, taken(failure)
	}
	return &Plan{plan}, nil
}

// Close frees the plan; VMs launched with it stay. It may be called twice.
func (p *Plan) Close() {
	C.krundl_plan_free(p.handle)
	p.handle = nil
}

// String is the plan for people.
func (p *Plan) String() string { return C.GoString(C.krundl_plan_text(p.handle)) }

// Calls are the functions that are called, in order.
func (p *Plan) Calls() []string {
	calls := make([]string, C.krundl_plan_call_count(p.handle))
	for i := range calls {
		calls[i] = C.GoString(C.krundl_plan_call_function(p.handle, C.size_t(i)))
	}
	return calls
}
