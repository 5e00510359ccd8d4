package krundl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"unicode/utf8"
)

// Text is text of any bytes but NUL: in JSON a string where it is UTF-8, else its bytes.
type Text string

// Texts makes Text of strings, such as a command's arguments.
func Texts(texts ...string) []Text {
	all := make([]Text, len(texts))
	for i, text := range texts {
		all[i] = Text(text)
	}
	return all
}

type textBytes struct {
	Bytes []uint16 `json:"bytes"`
}

// MarshalJSON makes a string of it, or an object with its bytes.
func (t Text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return json.Marshal(string(t))
	}
	// Not []byte, which would be base64.
	var any textBytes
	for _, b := range []byte(t) {
		any.Bytes = append(any.Bytes, uint16(b))
	}
	return json.Marshal(any)
}

// UnmarshalJSON takes both.
func (t *Text) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*t = Text(text)
		return nil
	}
	var any textBytes
	if err := json.Unmarshal(data, &any); err != nil {
		return err
	}
	plain := make([]byte, len(any.Bytes))
	for i, b := range any.Bytes {
		if b > 255 {
			return fmt.Errorf("krundl: %d is no byte", b)
		}
		plain[i] = byte(b)
	}
	*t = Text(plain)
	return nil
}

// Console is where the guest's console and the workload's standard streams go; the zero value is to the streams that the
// VM is started with.
type Console struct {
	// None is nowhere; reading gives the end at once.
	None bool
	// File is truncated and gets standard output, standard error and the console mixed, lines ending in CRLF. Standard
	// input stays silent and never ends.
	File string
}

// MarshalJSON makes of it what docs/spec.md has.
func (c Console) MarshalJSON() ([]byte, error) {
	switch {
	case c.None && c.File != "":
		return nil, errors.New("krundl: a console goes to a file or nowhere, not both")
	case c.None:
		return []byte(`"none"`), nil
	case c.File != "":
		return json.Marshal(map[string]string{"file": c.File})
	}
	return []byte(`"inherit"`), nil
}

// UnmarshalJSON takes what docs/spec.md has.
func (c *Console) UnmarshalJSON(data []byte) error {
	switch string(bytes.TrimSpace(data)) {
	case `"inherit"`:
		*c = Console{}
		return nil
	case `"none"`:
		*c = Console{None: true}
		return nil
	}
	var file struct{ File string }
	if err := json.Unmarshal(data, &file); err != nil || file.File == "" {
		return fmt.Errorf("krundl: %s is no console", data)
	}
	*c = Console{File: file.File}
	return nil
}

// Control is where the control port is on the host; the zero value is in a directory that krundl makes for this VM alone,
// and removes with it.
type Control struct {
	// Socket is made by libkrun, in a directory that is closed to everybody else (mode 0700).
	Socket string
}

// MarshalJSON makes of it what docs/spec.md has.
func (c Control) MarshalJSON() ([]byte, error) {
	if c.Socket == "" {
		return []byte(`"private"`), nil
	}
	return json.Marshal(map[string]string{"socket": c.Socket})
}

// UnmarshalJSON takes what docs/spec.md has.
func (c *Control) UnmarshalJSON(data []byte) error {
	if string(bytes.TrimSpace(data)) == `"private"` {
		*c = Control{}
		return nil
	}
	var at struct{ Socket string }
	if err := json.Unmarshal(data, &at); err != nil || at.Socket == "" {
		return fmt.Errorf("krundl: %s is no control port", data)
	}
	*c = Control{Socket: at.Socket}
	return nil
}

// Some is a pointer to a value, for those fields of a Spec in which nothing and zero are two things.
func Some[T any](value T) *T { return &value }

// notUTF8 is the first string in a value that JSON cannot have. encoding/json would replace bytes in it without a word,
// and the spec would name another file.
func notUTF8(value reflect.Value, path string) error {
	switch value.Kind() {
	case reflect.String:
		if value.Type() != reflect.TypeOf(Text("")) && !utf8.ValidString(value.String()) {
			message := fmt.Sprintf("%s: %q is not UTF-8", path, value.String())
			return &Error{Status: InvalidArgument, Message: message}
		}
	case reflect.Pointer:
		if !value.IsNil() {
			return notUTF8(value.Elem(), path)
		}
	case reflect.Slice, reflect.Array:
		for i := 0; i < value.Len(); i++ {
			if err := notUTF8(value.Index(i), fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		for _, key := range value.MapKeys() {
			if err := notUTF8(key, path); err != nil {
				return err
			}
			if err := notUTF8(value.MapIndex(key), fmt.Sprintf("%s[%q]", path, key)); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := 0; i < value.NumField(); i++ {
			if err := notUTF8(value.Field(i), path+"."+value.Type().Field(i).Name); err != nil {
				return err
			}
		}
	}
	return nil
}
