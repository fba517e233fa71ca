package main

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// HL7's own validator, written in Java, and ours look at the same resources and must find the same errors.
// scripts/services/validator/with brings theirs.

var keepOpinions = flag.String("opinions", "", "keep the sample and both opinions in this folder")

// apart are the errors that one of the two finds alone, each with the reason. A line that nothing matches is an error.
var apart = []struct {
	whose, path, says string // `theirs` or `ours`; a path as elementPath writes it and a regular expression over `code: text`
	reason            string
}{
	{"theirs", "DeviceUseStatement.extension[0]", `^Extension_EXT_Version_Invalid: `,
		"HAPI has no definitions of R5's elements as extensions, and takes their URL for a wrong one; HL7 gives that URL (Extensions for Converting between versions)"},
	{"theirs", "Patient.address[0].state", `^Terminology_PassThrough_TX_Message: Unknown code "https://www.usps.com/`,
		"HAPI has the states of the USPS built in; to us they are a code system that is not at hand"},
	{"theirs", "Observation", vitalByCode, vitalReason},
	{"theirs", "Observation.code", vitalByCode, vitalReason},
	{"theirs", "Observation.component", vitalByCode, vitalReason},
	{"theirs", "Observation.valueQuantity", vitalByCode, vitalReason},
}

const (
	vitalByCode = `StructureDefinition/(bp|oxygensat)\|4\.0\.1`
	vitalReason = "HL7's validator asks the profile of blood pressure of a systolic or diastolic reading alone, and that of oxygen saturation of its other codes; R4 (Vital Signs Profile) asks it of 85354-9 and of 2708-6"
)

// remark is an error that a validator found.
type remark struct{ path, says string }

// opinion is what a validator says of one resource: its errors, by path.
type opinion map[string][]remark

// opinions reads one OperationOutcome a line.
func opinions(t *testing.T, text []byte) (list []opinion) {
	t.Helper()
	for line := range bytes.Lines(text) {
		outcome := decode[struct {
			ResourceType string
			Issue        []struct {
				Severity, Code, Diagnostics string
				Details                     struct{ Text string }
				Expression                  []string
				Extension                   []struct{ URL, ValueString string }
			}
		}](t, string(line))
		if outcome.ResourceType != "OperationOutcome" {
			t.Fatalf("an opinion is a %q", outcome.ResourceType)
		}
		o := opinion{}
		for _, i := range outcome.Issue {
			if i.Severity != "error" && i.Severity != "fatal" {
				continue
			}
			r := remark{says: i.Code + ": " + strings.TrimSpace(i.Details.Text+" "+i.Diagnostics)}
			if len(i.Expression) > 0 {
				r.path = elementPath(i.Expression[0])
			}
			for _, x := range i.Extension {
				if strings.HasSuffix(x.URL, "/operationoutcome-message-id") {
					r.says = x.ValueString + ": " + i.Diagnostics
				}
			}
			if m := sliceCount.FindStringSubmatch(r.says); m != nil {
				r.path += "." + m[1]
			}
			o[r.path] = append(o[r.path], r)
		}
		list = append(list, o)
	}
	return list
}

var (
	pathNotes = regexp.MustCompile(`/\*.*?\*/|\[url='[^']*'\]|:[A-Za-z][-\w]*`) // which resource, which extension, which slice
	// theirs puts too few or too many of a slice to what holds the list
	sliceCount = regexp.MustCompile(`^Validation_VAL_Profile_M(?:in|ax)imum(?:_SLICE)?: (?:Slice ')?[\w.]+\.(\w+):[-\w]+'?:`)
	pathChoice = regexp.MustCompile(`\.ofType\((\w)(\w*)\)`)
)

// elementPath is a path as both write it: names as in JSON, `Observation.component[0].valueQuantity.value`.
func elementPath(path string) string {
	path = pathChoice.ReplaceAllStringFunc(pathNotes.ReplaceAllString(path, ""), func(s string) string {
		typ := s[len(".ofType(") : len(s)-1]
		return strings.ToUpper(typ[:1]) + typ[1:]
	})
	return strings.TrimRight(path, "./")
}

// difference is an error that one of the two has at a path where the other has none.
type difference struct {
	resource   int
	whose      string
	path, says string
}

// differences compares what two validators say of the same resources.
func differences(theirs, ours []opinion) (list []difference) {
	alone := func(i int, whose string, one, other opinion) {
		for _, path := range slices.Sorted(maps.Keys(one)) {
			if len(other[path]) == 0 {
				list = append(list, difference{i, whose, path, one[path][0].says})
			}
		}
	}
	for i := range theirs {
		alone(i, "theirs", theirs[i], ours[i])
		alone(i, "ours", ours[i], theirs[i])
	}
	return list
}

// unexplained takes the differences that apart names out, and says which of its lines matched nothing.
func unexplained(list []difference) (left []difference, idle []int) {
	used := make([]bool, len(apart))
	for _, d := range list {
		known := false
		for i, a := range apart {
			if a.whose == d.whose && a.path == d.path && regexp.MustCompile(a.says).MatchString(d.says) {
				known, used[i] = true, true
			}
		}
		if !known {
			left = append(left, d)
		}
	}
	for i, u := range used {
		if !u {
			idle = append(idle, i)
		}
	}
	return left, idle
}

// validators are the two, and what they are given beside R4.
type validators struct {
	java, guide, terminology string
	dir                      string
}

func newValidators(t *testing.T) *validators {
	t.Helper()
	v := &validators{java: os.Getenv("CHARTLIFT_JAVA_VALIDATOR"), dir: *keepOpinions}
	if v.java == "" {
		sharedtest.Missing(t, "services", "CHARTLIFT_JAVA_VALIDATOR names no validator")
	}
	v.guide = sharedtest.Path(t, "data", "us-core", "hl7.fhir.us.core-6.1.0.tgz")
	v.terminology = sharedtest.Path(t, "data", "us-core", "hl7.terminology-subset.json.gz")
	if v.dir == "" {
		v.dir = t.TempDir()
	}
	return v
}

// write keeps a file beside the opinions.
func (v *validators) write(t *testing.T, name string, text []byte) (path string) {
	t.Helper()
	path = filepath.Join(v.dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// both asks both validators about the sample.
func (v *validators) both(t *testing.T, name string, sample []sampled) (theirs, ours []opinion) {
	t.Helper()
	var text, names bytes.Buffer
	for _, s := range sample {
		fmt.Fprintln(&text, s.text)
		fmt.Fprintln(&names, s.set, s.mapping, s.typ, s.id)
	}
	v.write(t, name+".names", names.Bytes())
	file := v.write(t, name+".ndjson", text.Bytes())
	cmd := exec.CommandContext(t.Context(), v.java, "--package", v.guide, "--terminology", v.terminology, file)
	var faults, out bytes.Buffer
	cmd.Stderr = &faults
	java, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, faults.String())
	}
	v.write(t, name+".theirs.ndjson", java)
	faults.Reset()
	code := chartlift(t.Context(), []string{"validate", "--json", "--guide", v.guide, "--terminology", v.terminology, file}, strings.NewReader(""), &out, &faults)
	if code != exitDone && code != exitReview {
		t.Fatalf("chartlift validate: exit %d\n%s", code, faults.String())
	}
	v.write(t, name+".ours.ndjson", out.Bytes())
	theirs, ours = opinions(t, java), opinions(t, out.Bytes())
	if len(theirs) != len(sample) || len(ours) != len(sample) {
		t.Fatalf("of %d resources they judge %d and we %d", len(sample), len(theirs), len(ours))
	}
	return theirs, ours
}

func TestSecondOpinion(t *testing.T) {
	v := newValidators(t)
	sample := drawSample(t)
	t.Run("as made", func(t *testing.T) { v.agreeAsMade(t, sample) })
	t.Run("spoilt", func(t *testing.T) { v.agreeSpoilt(t, spoil(t, sample)) })
}

// agreeAsMade is about what the mappings make: each error that one of the two finds alone is named in apart.
func (v *validators) agreeAsMade(t *testing.T, sample []sampled) {
	theirs, ours := v.both(t, "sample", sample)
	all := differences(theirs, ours)
	left, idle := unexplained(all)
	for _, d := range left {
		s := sample[d.resource]
		t.Errorf("%s: %s alone: %s %s (%s)", s.stratum(), d.whose, d.path, d.says, s.id)
	}
	for _, i := range idle {
		t.Errorf("nothing was found as apart says: %s %s %s", apart[i].whose, apart[i].path, apart[i].says)
	}
	t.Logf("%d resources, %d differences, %d of them named", len(sample), len(all), len(all)-len(left))
}

// A difference is found on either side, and is what it is in spite of how each writes paths; warnings are none.
func TestDifferences(t *testing.T) {
	issue := func(severity, path string) string {
		return fmt.Sprintf(`{"severity":%q,"code":"structure","diagnostics":"wrong","expression":[%q]}`, severity, path)
	}
	outcomes := func(list ...[]string) []opinion {
		var b bytes.Buffer
		for _, issues := range list {
			fmt.Fprintf(&b, "{\"resourceType\":\"OperationOutcome\",\"issue\":[%s]}\n", strings.Join(issues, ","))
		}
		return opinions(t, b.Bytes())
	}
	theirs := outcomes(
		[]string{issue("error", "Observation.component[0].value.ofType(Quantity).value"), issue("warning", "Observation.code")},
		[]string{issue("error", "Bundle.entry[0].resource/*Patient/p*/.name[1]"), issue("fatal", "Bundle")},
		nil)
	ours := outcomes(
		[]string{issue("error", "Observation.component[0].valueQuantity.value")},
		[]string{issue("error", "Bundle.entry[0].resource.name[0]"), issue("error", "Bundle")},
		[]string{issue("error", "Patient.extension[0][url='http://a.example/b'].value.ofType(code)")})
	var got []string
	for _, d := range differences(theirs, ours) {
		got = append(got, fmt.Sprintf("%d %s %s %s", d.resource, d.whose, d.path, d.says))
	}
	want := []string{
		"1 theirs Bundle.entry[0].resource.name[1] structure: wrong",
		"1 ours Bundle.entry[0].resource.name[0] structure: wrong",
		"2 ours Patient.extension[0].valueCode structure: wrong",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("differences (-want +got):\n%s", diff)
	}
	left, idle := unexplained(append(differences(theirs, ours), difference{0, apart[0].whose, apart[0].path, strings.TrimPrefix(apart[0].says, "^")}))
	if len(left) != len(want) || slices.Contains(idle, 0) || len(idle) != len(apart)-1 {
		t.Errorf("%d differences are left, and the lines %v matched nothing", len(left), idle)
	}
}
