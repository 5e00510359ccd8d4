package krundl

/*
#include <krundl.h>
*/
import "C"

import "encoding/json"

// Inspected is what a file says about itself that was read and not opened.
type Inspected struct {
	// Path is the file as it was named, and RealPath the same without links; empty where there is no such file.
	Path     string `json:"path"`
	RealPath string `json:"real_path"`
	// Parts has one for each architecture in the file.
	Parts []Part `json:"parts"`
	// Err says why the file could not be read; nil if it was.
	Err *FileError `json:"error"`
}

// FileError says why a file is no library that can be read.
type FileError struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
}

func (e *FileError) Error() string { return e.Message }

// Part is one architecture's part of a file.
type Part struct {
	Architecture string `json:"architecture"`
	// Format is "elf" or "mach_o".
	Format string `json:"format"`
	Soname string `json:"soname"`
	// Flavour is the variant, by its names; empty if it is no libkrun.
	Flavour string `json:"flavour"`
	// Version is which release it is, as far as its functions and names tell; nil if it is no libkrun.
	Version *VersionReport `json:"version"`
	// Features has what its functions prove that it was built with, or without.
	Features map[string]bool `json:"features"`
	// Needed are the libraries that it is linked with, and RunPaths where it has them looked for.
	Needed   []string `json:"needed"`
	RunPaths []string `json:"run_paths"`
	// BuildID is the linker's mark.
	BuildID string `json:"build_id"`
	// Functions has all of libkrun's, and whether it offers them; nil if its functions cannot be told.
	Functions map[string]bool `json:"functions"`
	// UnknownFunctions are those named krun_ that krundl does not know.
	UnknownFunctions []string `json:"unknown_functions"`
	// Exports is how many functions it offers in all.
	Exports int `json:"exports"`
	// Firmware has the names of libkrunfw that it mentions.
	Firmware []string `json:"firmware"`
}

// VersionReport is which release a library is.
type VersionReport struct {
	// Range is the releases that it can be, such as "=1.18.0" or ">=1.18.0, <1.19.0".
	Range string `json:"range"`
	// Evidence is how that is known, and Conflicts what contradicts what.
	Evidence  []Evidence `json:"evidence"`
	Conflicts []string   `json:"conflicts"`
}

// Evidence is one witness to a version: what it says, and why.
type Evidence struct {
	Kind    string `json:"kind"`
	Says    string `json:"says"`
	Because string `json:"because"`
}

// Inspect reads what files say about themselves, of any system and architecture, and opens none of them. With a root the
// paths are those in it; without files those in its usual places are read. A file that cannot be read is no error: its
// Err says why.
func Inspect(root string, files ...string) ([]Inspected, error) {
	text, err := inspectJSON(root, files)
	if err != nil {
		return nil, err
	}
	var found []Inspected
	err = json.Unmarshal(text, &found)
	return found, err
}

func inspectJSON(root string, files []string) ([]byte, error) {
	var texts cTexts
	defer texts.free()
	var inspection *C.krundl_inspection
	var failure *C.krundl_error
	if C.krundl_inspect(texts.list(files), texts.optional(root), &inspection, &failure) != C.KRUNDL_STATUS_OK {
		return nil, taken(failure)
	}
	defer C.krundl_inspection_free(inspection)
	return []byte(C.GoString(C.krundl_inspection_json(inspection))), nil
}
