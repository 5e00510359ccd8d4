package krundl

/*
#include <krundl.h>
*/
import "C"

import "syscall"

// Status is how a call went; the numbers are those of docs/errors.md. It is an error by itself, so that
// errors.Is(err, krundl.Unsupported) tells what kind of failure an error is.
type Status int

// The statuses that are failures.
const (
	LibraryNotFound   Status = C.KRUNDL_STATUS_LIBRARY_NOT_FOUND
	GenerationUnknown Status = C.KRUNDL_STATUS_GENERATION_UNKNOWN
	LibraryChanged    Status = C.KRUNDL_STATUS_LIBRARY_CHANGED
	InvalidSpec       Status = C.KRUNDL_STATUS_INVALID_SPEC
	Unsupported       Status = C.KRUNDL_STATUS_UNSUPPORTED
	HelperNotFound    Status = C.KRUNDL_STATUS_HELPER_NOT_FOUND
	HelperMismatch    Status = C.KRUNDL_STATUS_HELPER_MISMATCH
	HelperFailed      Status = C.KRUNDL_STATUS_HELPER_FAILED
	Network           Status = C.KRUNDL_STATUS_NETWORK
	Call              Status = C.KRUNDL_STATUS_CALL
	Start             Status = C.KRUNDL_STATUS_START
	Crashed           Status = C.KRUNDL_STATUS_CRASHED
	NeverUp           Status = C.KRUNDL_STATUS_NEVER_UP
	GuestSetup        Status = C.KRUNDL_STATUS_GUEST_SETUP
	GuestLost         Status = C.KRUNDL_STATUS_GUEST_LOST
	TimedOut          Status = C.KRUNDL_STATUS_TIMED_OUT
	ReadinessUnknown  Status = C.KRUNDL_STATUS_READINESS_UNKNOWN
	ControlLost       Status = C.KRUNDL_STATUS_CONTROL_LOST
	OS                Status = C.KRUNDL_STATUS_OS
	InvalidArgument   Status = C.KRUNDL_STATUS_INVALID_ARGUMENT
	Internal          Status = C.KRUNDL_STATUS_INTERNAL
)

// Error is the status's name, such as "library_not_found".
func (s Status) Error() string { return C.GoString(C.krundl_status_name(C.int32_t(s))) }

// Problem is one thing that stands between a spec and a VM.
type Problem struct {
	Kind, Field, Reason string
	// Function is what libkrun lacks, and Since the first release that has it; empty where none is missing.
	Function, Since string
	// BuiltWith is the feature that libkrun must be built with; empty where it takes none.
	BuiltWith string
	// Fix is what would mend it; empty where nothing is known.
	Fix string
}

// Attempt is a candidate in the search for libkrun.
type Attempt struct{ Candidate, Origin, Kind, Message string }

// Error is why a call failed.
type Error struct {
	Status   Status
	Message  string
	Problems []Problem
	Attempts []Attempt
	// Function is the one of libkrun that refused, or during which its process died.
	Function string
	// Errno is libkrun's or the operating system's, 0 where there is none.
	Errno syscall.Errno
	// Words are what libkrun or the guest's kernel wrote.
	Words string
}

func (e *Error) Error() string { return "krundl: " + e.Message }

// Is compares with a Status.
func (e *Error) Is(target error) bool {
	status, ok := target.(Status)
	return ok && status == e.Status
}

// taken copies a failure and frees it.
func taken(failure *C.krundl_error) *Error {
	defer C.krundl_error_free(failure)
	e := &Error{
		Status:   Status(C.krundl_error_status(failure)),
		Message:  C.GoString(C.krundl_error_message(failure)),
		Function: C.GoString(C.krundl_error_function(failure)),
		Errno:    syscall.Errno(C.krundl_error_errno(failure)),
		Words:    C.GoString(C.krundl_error_words(failure)),
	}
	for i := C.size_t(0); i < C.krundl_error_problem_count(failure); i++ {
		e.Problems = append(e.Problems, Problem{
			Kind:      C.GoString(C.krundl_error_problem_kind(failure, i)),
			Field:     C.GoString(C.krundl_error_problem_field(failure, i)),
			Reason:    C.GoString(C.krundl_error_problem_reason(failure, i)),
			Function:  C.GoString(C.krundl_error_problem_function(failure, i)),
			Since:     C.GoString(C.krundl_error_problem_since(failure, i)),
			BuiltWith: C.GoString(C.krundl_error_problem_built_with(failure, i)),
			Fix:       C.GoString(C.krundl_error_problem_fix(failure, i)),
		})
	}
	for i := C.size_t(0); i < C.krundl_error_attempt_count(failure); i++ {
		e.Attempts = append(e.Attempts, Attempt{
			Candidate: C.GoString(C.krundl_error_attempt_candidate(failure, i)),
			Origin:    C.GoString(C.krundl_error_attempt_origin(failure, i)),
			Kind:      C.GoString(C.krundl_error_attempt_kind(failure, i)),
			Message:   C.GoString(C.krundl_error_attempt_message(failure, i)),
		})
	}
	return e
}
