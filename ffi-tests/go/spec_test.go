package krundl

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
)

// One name of each set.
var names = map[reflect.Type]string{
	reflect.TypeOf(DiskFormat("")):    "qcow2",
	reflect.TypeOf(DiskSync("")):      "full",
	reflect.TypeOf(KernelConsole("")): "ttyS0",
	reflect.TypeOf(KernelFormat("")):  "elf",
	reflect.TypeOf(LogLevel("")):      "trace",
	reflect.TypeOf(NetFeature("")):    "guest_tso4",
	reflect.TypeOf(Protocol("")):      "udp",
	reflect.TypeOf(Semantics("")):     "simplified",
}

// Strings that cannot be any.
var addresses = map[string]string{"NIC.Gateway": "192.0.2.1", "NIC.DNS": "2001:db8::1", "Forward.Address": "192.0.2.7"}

// fill puts something other than the default into every field, and returns how many fields it has filled.
func fill(t *testing.T, value reflect.Value) int { return fillAs(t, value, "") }

func fillAs(t *testing.T, value reflect.Value, name string) int {
	switch value.Kind() {
	case reflect.String:
		switch known, ok := names[value.Type()]; {
		case ok:
			value.SetString(known)
		case value.Type() == reflect.TypeOf(Text("")):
			value.SetString("text\xff")
		case addresses[name] != "":
			value.SetString(addresses[name])
		case value.Type() == reflect.TypeOf(""):
			value.SetString("some")
		default:
			t.Fatal("no name is known of", value.Type())
		}
	case reflect.Bool:
		value.SetBool(true)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		value.SetUint(7)
	case reflect.Pointer:
		value.Set(reflect.New(value.Type().Elem()))
		return fillAs(t, value.Elem(), name)
	case reflect.Slice:
		value.Set(reflect.MakeSlice(value.Type(), 2, 2))
		return fillAs(t, value.Index(0), name) + fillAs(t, value.Index(1), name)
	case reflect.Array:
		return fillAs(t, value.Index(0), name) + fillAs(t, value.Index(1), name)
	case reflect.Map:
		item := reflect.New(value.Type().Elem()).Elem()
		filled := fillAs(t, item, name)
		value.Set(reflect.MakeMap(value.Type()))
		value.SetMapIndex(reflect.ValueOf("KEY"), item)
		return filled
	case reflect.Struct:
		if value.Type() == reflect.TypeOf(Console{}) {
			value.Set(reflect.ValueOf(Console{File: "console"}))
			return 1
		}
		filled := 0
		for i := 0; i < value.NumField(); i++ {
			filled += fillAs(t, value.Field(i), value.Type().Name()+"."+value.Type().Field(i).Name)
		}
		return filled
	default:
		t.Fatal("nothing is known of", value.Type())
	}
	return 1
}

func TestEveryFieldGoesToKrundlAndBack(t *testing.T) {
	var whole Spec
	if filled := fill(t, reflect.ValueOf(&whole).Elem()); filled < 100 {
		t.Fatal(filled, "fields")
	}
	for _, spec := range []Spec{whole, {VCPUs: 1, MemoryMiB: 256}, {VCPUs: 1, MemoryMiB: 1, Console: Console{None: true}, Control: &Control{}}} {
		text, err := spec.JSON()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseSpec(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		// krundl fills in defaults, so what comes back says more; saying it again changes nothing.
		said, _ := back.JSON()
		again, err := ParseSpec(said)
		if err != nil || !reflect.DeepEqual(again, back) {
			t.Fatal(again, back, err)
		}
		if spec.Root != nil && !reflect.DeepEqual(spec, back) {
			t.Fatalf("%s\nbecomes\n%s", text, said)
		}
		if back.VCPUs != spec.VCPUs || back.Console != spec.Console || !reflect.DeepEqual(back.Control, spec.Control) {
			t.Fatal(back)
		}
	}
}

func TestZeroAndNothingAreTwoThings(t *testing.T) {
	said, err := Spec{
		UID:     Some[uint32](0),
		Kernel:  &Kernel{Path: "/k", Cmdline: Some("")},
		TSI:     &TSI{Inet: Some(false)},
		NICs:    []NIC{{Features: &[]NetFeature{}}, {}},
		Overlay: Overlay{Files: []OverlayFile{{Path: "/f", Text: Some(Text("")), Mode: Some[uint32](0)}}},
	}.JSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`"uid":0`, `"kernel":{"path":"/k","cmdline":""}`, `"tsi":{"inet":false}`, `"nics":[{"features":[]},{}]`,
		`"files":[{"path":"/f","mode":0,"text":""}]`,
	} {
		if !strings.Contains(string(said), part) {
			t.Errorf("%s is not in %s", part, said)
		}
	}
	for _, field := range []string{"gid", "exec", "root", "log_level", "firmware"} {
		if strings.Contains(string(said), `"`+field+`"`) {
			t.Errorf("%s is in %s", field, said)
		}
	}
}

func TestAStringThatJSONCannotHaveIsRefused(t *testing.T) {
	for field, spec := range map[string]Spec{
		"Spec.Root.Dir":            {Root: &Root{Dir: "/\xff"}},
		"Spec.Disks[1].Path":       {Disks: []Disk{{}, {Path: "\xff"}}},
		"Spec.Exec.Env":            {Exec: &Exec{Env: map[string]Text{"\xff": ""}}},
		"Spec.Console.File":        {Console: Console{File: "\xff"}},
		"Spec.SMBIOSOEMStrings[0]": {SMBIOSOEMStrings: []string{"\xff"}},
	} {
		if _, err := spec.JSON(); !errors.Is(err, InvalidArgument) || !strings.Contains(err.Error(), field+":") {
			t.Error(field, err)
		}
	}
	if _, err := (Spec{Console: Console{None: true, File: "f"}}).JSON(); err == nil {
		t.Error("a console in two places")
	}
}

func TestWhatIsNoSpecIsRefusedWithEveryMistake(t *testing.T) {
	_, err := ParseSpec([]byte(`{"vcpus": 1, "memory_mib": "much", "colour": "red"}`))
	var failure *Error
	if !errors.Is(err, InvalidSpec) || !errors.As(err, &failure) || len(failure.Problems) != 2 {
		t.Fatal(err)
	}
}

// Every case's spec says as a Spec what it says as JSON.
func TestEveryCasesSpecIsASpec(t *testing.T) {
	text, err := os.ReadFile(at(t, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []expectedCase }
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	compared, accepted := 0, 0
	for _, it := range file.Cases {
		if it.Spec == nil || it.Helper != nil {
			continue
		}
		spec, err := ParseSpec([]byte(*it.Spec))
		if err != nil {
			continue
		}
		probe, err := NewProbe(ProbeOptions{Library: it.Library})
		if err != nil {
			continue
		}
		defer probe.Close()
		plan := func(plan *Plan, err error) string {
			if err != nil {
				return err.Error()
			}
			defer plan.Close()
			accepted++
			return string(plan.JSON())
		}
		if one, two := plan(probe.PlanJSON([]byte(*it.Spec))), plan(probe.Plan(spec)); one != two {
			t.Errorf("%s:\n%s\nis not\n%s", it.Name, two, one)
		}
		compared++
	}
	if compared < 30 || accepted < 40 {
		t.Fatal(compared, "specs,", accepted, "plans")
	}
}
