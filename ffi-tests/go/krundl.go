// Package krundl runs microVMs with whatever libkrun the machine has, through libkrundl.
//
// It is built with cgo and pkg-config's krundl. Nothing here decides anything: see include/krundl.h.
package krundl

/*
#cgo pkg-config: krundl
#include <krundl.h>
#include <stdlib.h>
*/
import "C"

import (
	"time"
	"unsafe"
)

// Version is the version of libkrundl that is loaded.
func Version() string { return C.GoString(C.krundl_version()) }

// ProbeOptions say what to probe. The zero value searches for everything.
type ProbeOptions struct {
	// Library is libkrun's file; empty: KRUNDL_LIBRARY, then a search.
	Library string
	// Directory is searched instead of the usual places; empty: KRUNDL_LIBRARY_DIR, then a search.
	Directory string
	// Helper is krundl-vmm; empty: KRUNDL_VMM, then a search.
	Helper string
	// Timeout is how long opening one candidate may take; 0: ten seconds.
	Timeout time.Duration
}

// Probe is a libkrun that was probed. Any goroutine may ask it anything; Close comes last.
type Probe struct{ handle *C.krundl_probe }

// NewProbe opens libkrun in a child process and learns what it can do.
func NewProbe(options ProbeOptions) (*Probe, error) {
	var texts cTexts
	defer texts.free()
	c := C.krundl_probe_options{
		library:    texts.optional(options.Library),
		directory:  texts.optional(options.Directory),
		helper:     texts.optional(options.Helper),
		timeout_ms: C.uint64_t(options.Timeout.Milliseconds()),
	}
	c.struct_size = C.size_t(unsafe.Sizeof(c))
	var probe *C.krundl_probe
	var failure *C.krundl_error
	if C.krundl_probe_new(&c, &probe, &failure) != C.KRUNDL_STATUS_OK {
		return nil, taken(failure)
	}
	return &Probe{probe}, nil
}

// Close frees the probe; plans made with it stay. It may be called twice.
func (p *Probe) Close() {
	C.krundl_probe_free(p.handle)
	p.handle = nil
}

// Path is the library as it was found.
func (p *Probe) Path() string { return C.GoString(C.krundl_probe_path(p.handle)) }

// LibkrunVersion is the releases that it can be, such as "=1.18.0" or ">=1.18.0, <1.19.0".
func (p *Probe) LibkrunVersion() string { return C.GoString(C.krundl_probe_version(p.handle)) }

// CanMount tells whether it shares directories of the host.
func (p *Probe) CanMount() bool { return bool(C.krundl_probe_can_mount(p.handle)) }

// CanMountReadOnly tells whether it shares them read-only, enforced on the host's side.
func (p *Probe) CanMountReadOnly() bool { return bool(C.krundl_probe_can_mount_read_only(p.handle)) }

// IsKnownGeneration tells whether krundl speaks its language.
func (p *Probe) IsKnownGeneration() bool {
	return C.krundl_probe_generation(p.handle) == C.KRUNDL_GENERATION_ONE
}

// Level is how far a group of functions goes, such as "virtiofs"; -1 for a group that there is not.
func (p *Probe) Level(group string) int {
	var texts cTexts
	defer texts.free()
	return int(C.krundl_probe_level(p.handle, texts.text(group)))
}

// Support tells whether a function does what its name says: "yes", "absent", "refuses", "no_effect", "unknown"; empty
// for a name that krundl does not know.
func (p *Probe) Support(function string) string {
	var texts cTexts
	defer texts.free()
	switch C.krundl_probe_support(p.handle, texts.text(function)) {
	case C.KRUNDL_SUPPORT_YES:
		return "yes"
	case C.KRUNDL_SUPPORT_ABSENT:
		return "absent"
	case C.KRUNDL_SUPPORT_REFUSES:
		return "refuses"
	case C.KRUNDL_SUPPORT_NO_EFFECT:
		return "no_effect"
	case C.KRUNDL_SUPPORT_UNKNOWN:
		return "unknown"
	}
	return ""
}

// Feature is what it says about a feature that it may be built with: "yes", "no", "unknown", "unasked"; empty for a name
// that krundl does not know.
func (p *Probe) Feature(name string) string {
	var texts cTexts
	defer texts.free()
	switch C.krundl_probe_feature(p.handle, texts.text(name)) {
	case C.KRUNDL_FEATURE_STATE_YES:
		return "yes"
	case C.KRUNDL_FEATURE_STATE_NO:
		return "no"
	case C.KRUNDL_FEATURE_STATE_UNKNOWN:
		return "unknown"
	case C.KRUNDL_FEATURE_STATE_UNASKED:
		return "unasked"
	}
	return ""
}

// JSON is everything that was found.
func (p *Probe) JSON() []byte { return []byte(C.GoString(C.krundl_probe_json(p.handle))) }

// cTexts are C strings that live for one call.
type cTexts []*C.char

func (t *cTexts) text(text string) *C.char {
	c := C.CString(text)
	*t = append(*t, c)
	return c
}

// optional is NULL for an empty text.
func (t *cTexts) optional(text string) *C.char {
	if text == "" {
		return nil
	}
	return t.text(text)
}

// list is an array of texts up to a NULL, in C's memory: Go's may not hold pointers to it for a call.
func (t *cTexts) list(texts []string) **C.char {
	memory := C.calloc(C.size_t(len(texts)+1), C.size_t(unsafe.Sizeof((*C.char)(nil))))
	*t = append(*t, (*C.char)(memory))
	array := (**C.char)(memory)
	for i, text := range texts {
		unsafe.Slice(array, len(texts))[i] = t.text(text)
	}
	return array
}

func (t *cTexts) free() {
	for _, text := range *t {
		C.free(unsafe.Pointer(text))
	}
}
