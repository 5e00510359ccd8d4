package krundl

/*
#include <krundl.h>
*/
import "C"

import (
	"encoding/json"
	"errors"
	"reflect"
)

// ParseSpec reads a spec as docs/spec.md has it, with a default in every field that it does not say. The error has every
// mistake of the text.
func ParseSpec(text []byte) (Spec, error) {
	var texts cTexts
	defer texts.free()
	var handle *C.krundl_spec
	var failure *C.krundl_error
	if C.krundl_spec_from_json(texts.text(string(text)), &handle, &failure) != C.KRUNDL_STATUS_OK {
		return Spec{}, taken(failure)
	}
	defer C.krundl_spec_free(handle)
	var whole *C.char
	if C.krundl_spec_json(handle, &whole, &failure) != C.KRUNDL_STATUS_OK {
		return Spec{}, taken(failure)
	}
	var spec Spec
	err := json.Unmarshal([]byte(C.GoString(whole)), &spec)
	return spec, err
}

// JSON is the spec as docs/spec.md has it.
func (s Spec) JSON() ([]byte, error) {
	if err := notUTF8(reflect.ValueOf(s), "Spec"); err != nil {
		return nil, err
	}
	return json.Marshal(s)
}

// Check tells everything that stands between a spec and a VM: mistakes of the spec, what this host has not, and what this
// libkrun cannot do. Nothing is in the way of an empty list. Nothing is kept open.
func (p *Probe) Check(spec Spec) ([]Problem, error) {
	text, err := spec.JSON()
	if err != nil {
		return nil, err
	}
	var texts cTexts
	defer texts.free()
	var failure *C.krundl_error
	if C.krundl_check_json(p.handle, texts.text(string(text)), &failure) == C.KRUNDL_STATUS_OK {
		return nil, nil
	}
	refused := taken(failure)
	if errors.Is(refused, InvalidSpec) || errors.Is(refused, Unsupported) {
		return refused.Problems, nil
	}
	return nil, refused
}

// Plan is an ordered list of calls, with everything open that was checked for it. Any goroutine may read and launch it,
// any number of times; Close comes last.
type Plan struct{ handle *C.krundl_plan }

// Plan checks a spec against this host and negotiates it with this libkrun. The error has every reason why not.
func (p *Probe) Plan(spec Spec) (*Plan, error) {
	text, err := spec.JSON()
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

// JSON is the plan as `krundl plan --json` prints it.
func (p *Plan) JSON() []byte { return []byte(C.GoString(C.krundl_plan_json(p.handle))) }

// Calls are the functions that are called, in order.
func (p *Plan) Calls() []string {
	calls := make([]string, C.krundl_plan_call_count(p.handle))
	for i := range calls {
		calls[i] = C.GoString(C.krundl_plan_call_function(p.handle, C.size_t(i)))
	}
	return calls
}
