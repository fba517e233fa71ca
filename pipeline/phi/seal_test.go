package phi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	marked   = `"meta":{"security":[{"code":"REDACTED","system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue"}]}`
	maskedAs = `{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"masked"}]}`
)

func parse(t testing.TB, text string) *fhir.Node {
	t.Helper()
	n, err := fhir.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return n
}

func policyOf(t testing.TB, rules string) *Policy {
	t.Helper()
	p, err := parsePolicy("test.yaml", []byte(rules))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestClinicalPart(t *testing.T) {
	k := testKeys(t)
	limited := testPolicy(t, "limited-data-set")
	harbor := testPolicy(t, "safe-harbor-elements")
	tests := []struct {
		name        string
		policy      *Policy
		whole, want string
	}{
		{"nothing to seal, no mark", limited,
			`{"id":"1","resourceType":"Patient","gender":"male","birthDate":"1950-01-02"}`,
			`{"id":"1","resourceType":"Patient","gender":"male","birthDate":"1950-01-02"}`},
		{"an object of which nothing is left vanishes, and so does its list", limited,
			`{"id":"1","resourceType":"Patient","name":[{"use":"official","family":"Doe","given":["J","K"]}],"telecom":[{"value":"5"}],"gender":"male"}`,
			`{"id":"1","resourceType":"Patient","gender":"male",` + marked + `}`},
		{"entries of a list, one by one", limited,
			`{"id":"1","resourceType":"Practitioner","identifier":[{"system":"a","value":"1"},{"system":"http://hl7.org/fhir/sid/us-npi","value":"9"},{"system":"b","value":"2"}]}`,
			`{"id":"1","resourceType":"Practitioner","identifier":[{"system":"http://hl7.org/fhir/sid/us-npi","value":"9"}],` + marked + `}`},
		{"parts of an address", limited,
			`{"id":"1","resourceType":"Patient","address":[{"line":["1 Main St"],"city":"Salem","district":"Essex","state":"MA","postalCode":"01970","text":"x"}]}`,
			`{"id":"1","resourceType":"Patient","address":[{"city":"Salem","state":"MA","postalCode":"01970"}],` + marked + `}`},
		{"safe harbor: year, zip3, state", harbor,
			`{"id":"1","resourceType":"Patient","address":[{"city":"Salem","state":"MA","postalCode":"01970-1234"},{"postalCode":"03601"},{"postalCode":"K1A 0B1"}],"birthDate":"1950-01-02","deceasedDateTime":"2020-05-06T07:08:09Z"}`,
			`{"id":"1","resourceType":"Patient","address":[{"state":"MA","postalCode":"019"},{"postalCode":"000"}],"birthDate":"1950","deceasedDateTime":"2020",` + marked + `}`},
		{"safe harbor: over 89", harbor,
			`{"id":"1","resourceType":"Patient","birthDate":"1936-06-30"}`,
			`{"id":"1","resourceType":"Patient",` + marked + `}`},
		{"safe harbor: 89", harbor,
			`{"id":"1","resourceType":"Patient","birthDate":"1936-07-01"}`,
			`{"id":"1","resourceType":"Patient","birthDate":"1936",` + marked + `}`},
		{"safe harbor: ages", harbor,
			`{"id":"1","resourceType":"Condition","subject":{"reference":"Patient/1"},"onsetAge":{"value":89.5,"code":"a","system":"http://unitsofmeasure.org"},"abatementAge":{"value":90,"code":"a","system":"http://unitsofmeasure.org"}}`,
			`{"id":"1","resourceType":"Condition","subject":{"reference":"Patient/1"},"onsetAge":{"value":89.5,"code":"a","system":"http://unitsofmeasure.org"},` + marked + `}`},
		{"a primitive goes with what is beside it", policyOf(t, "- date: keep\n- Patient.birthDate: seal"),
			`{"id":"1","resourceType":"Patient","birthDate":"1950","_birthDate":{"extension":[{"url":"u","valueCode":"c"}]}}`,
			`{"id":"1","resourceType":"Patient",` + marked + `}`},
		{"an extension beside a primitive that stays", limited,
			`{"id":"1","resourceType":"Patient","birthDate":"1950","_birthDate":{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/patient-birthTime","valueDateTime":"1950-01-01T01:01:01Z"}]}}`,
			`{"id":"1","resourceType":"Patient","birthDate":"1950",` + marked + `}`},
		{"lists of primitives keep their places", policyOf(t, "- HumanName: keep\n- HumanName.given.extension.where(url = 'a'): keep"),
			`{"id":"1","resourceType":"Patient","name":[{"given":["A",null,"C"],"_given":[{"extension":[{"url":"b"}]},{"extension":[{"url":"b"}]},{"extension":[{"url":"a","valueCode":"x"}]}]}]}`,
			`{"id":"1","resourceType":"Patient","name":[{"given":["A",null,"C"],"_given":[null,` + maskedAs + `,{"extension":[{"url":"a","valueCode":"x"}]}]}],` + marked + `}`},
		{"a list of extensions of which none stays", policyOf(t, "- HumanName: keep"),
			`{"id":"1","resourceType":"Patient","name":[{"given":["A",null],"_given":[null,{"extension":[{"url":"b"}]}]},{"given":["B"],"_given":[{"extension":[{"url":"b"}]}]}]}`,
			`{"id":"1","resourceType":"Patient","name":[{"given":["A",null],"_given":[null,` + maskedAs + `]},{"given":["B"]}],` + marked + `}`},
		{"the narrative is one unit", limited,
			`{"id":"1","resourceType":"Patient","text":{"status":"generated","div":"<div>x</div>"},"gender":"male"}`,
			`{"id":"1","resourceType":"Patient","gender":"male",` + marked + `}`},
		{"required, primitive", limited,
			`{"id":"1","resourceType":"CarePlan","status":"active","intent":"plan","subject":{"reference":"Patient/1"},"activity":[{"detail":{"status":"scheduled","description":"d"}}],"note":[{"text":"n","time":"2020-01-01T00:00:00Z"}]}`,
			`{"id":"1","resourceType":"CarePlan","status":"active","intent":"plan","subject":{"reference":"Patient/1"},"activity":[{"detail":{"status":"scheduled"}}],` + marked + `}`},
		{"required primitive beside others", policyOf(t, "- code: keep\n- Observation.status: seal"),
			`{"id":"1","resourceType":"Observation","status":"final","category":[{"coding":[{"code":"x"}]}],"code":{"text":"t"}}`,
			`{"id":"1","resourceType":"Observation","_status":` + maskedAs + `,"category":[{"coding":[{"code":"x"}]}],"code":` + maskedAs + `,` + marked + `}`},
		{"required primitive that has extensions", policyOf(t, "- Observation.status: seal"),
			`{"id":"1","resourceType":"Observation","status":"final","_status":{"id":"s"},"code":{"coding":[{"code":"x"}]}}`,
			`{"id":"1","resourceType":"Observation","_status":` + maskedAs + `,"code":` + maskedAs + `,` + marked + `}`},
		{"required, complex, text alone", limited,
			`{"id":"1","resourceType":"Observation","status":"final","code":{"text":"free"}}`,
			`{"id":"1","resourceType":"Observation","status":"final","code":` + maskedAs + `,` + marked + `}`},
		{"required inside what vanishes", limited,
			`{"id":"1","resourceType":"Patient","communication":[{"language":{"text":"Klingon"}}],"gender":"male"}`,
			`{"id":"1","resourceType":"Patient","gender":"male",` + marked + `}`},
		{"required with required parts", limited,
			`{"id":"1","resourceType":"DocumentReference","status":"current","content":[{"attachment":{"url":"http://x"}}]}`,
			`{"id":"1","resourceType":"DocumentReference","status":"current","content":[{"attachment":` + maskedAs + `}],` + marked + `}`},
		{"contained keeps its shell", policyOf(t, "- Reference.reference: keep\n- code: keep"),
			`{"id":"1","resourceType":"Observation","status":"final","contained":[{"resourceType":"Patient","id":"p","name":[{"family":"Doe"}],"gender":"male"}],"subject":{"reference":"#p"}}`,
			`{"id":"1","resourceType":"Observation","status":"final","contained":[{"resourceType":"Patient","id":"p","gender":"male"}],"subject":{"reference":"#p"},` + marked + `}`},
		{"contained sealed as a whole", policyOf(t, "- \"*\": keep\n- DomainResource.contained: seal"),
			`{"id":"1","resourceType":"Observation","status":"final","contained":[{"resourceType":"Patient","id":"p","meta":{"lastUpdated":"2020-01-01T00:00:00Z","versionId":"2"},"gender":"male"},{"resourceType":"Device","id":"d"}]}`,
			`{"id":"1","resourceType":"Observation","status":"final","contained":[{"resourceType":"Patient","id":"p","meta":{"versionId":"2"}},{"resourceType":"Device","id":"d"}],` + marked + `}`},
		{"unknown elements", policyOf(t, "- Patient: keep"),
			`{"id":"1","resourceType":"Patient","nickname":"x","gender":"male","extension":[{"url":"u","valueCode":"c"}],"photo":[{"url":"p"}]}`,
			`{"id":"1","resourceType":"Patient","gender":"male",` + marked + `}`},
		{"a resource that R4 does not have", limited,
			`{"id":"1","resourceType":"Spaceship","captain":"Kirk","meta":{"tag":[{"code":"t"}]}}`,
			`{"id":"1","resourceType":"Spaceship","meta":{"security":[{"code":"REDACTED","system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue"}],"tag":[{"code":"t"}]}}`},
		{"an extension that is known, beside one that is not", limited,
			`{"id":"1","resourceType":"Patient","extension":[{"url":"http://hl7.org/fhir/us/core/StructureDefinition/us-core-race","extension":[{"url":"text","valueString":"White"}]},{"url":"http://x/mothersMaidenName","valueString":"Z"},{"url":"http://hl7.org/fhir/StructureDefinition/patient-birthPlace","valueAddress":{"city":"B","line":["1"]}}]}`,
			`{"id":"1","resourceType":"Patient","extension":[{"url":"http://hl7.org/fhir/us/core/StructureDefinition/us-core-race","extension":[{"url":"text","valueString":"White"}]},{"url":"http://hl7.org/fhir/StructureDefinition/patient-birthPlace","valueAddress":{"city":"B"}}],` + marked + `}`},
		{"an extension of which only the url would stay", limited,
			`{"id":"1","resourceType":"Patient","extension":[{"url":"http://hl7.org/fhir/StructureDefinition/patient-birthPlace","valueAddress":{"line":["1"]}}]}`,
			`{"id":"1","resourceType":"Patient",` + marked + `}`},
		{"labels and structure of meta stay", limited,
			`{"id":"1","resourceType":"Patient","meta":{"source":"http://h/1","versionId":"3","profile":["p"],"security":[{"code":"R","system":"s"}],"tag":[{"code":"t"}]},"name":[{"family":"D"}]}`,
			`{"id":"1","resourceType":"Patient","meta":{"versionId":"3","profile":["p"],"security":[{"code":"REDACTED","system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue"},{"code":"R","system":"s"}],"tag":[{"code":"t"}]}}`},
		{"it says REDACTED already", limited,
			`{"id":"1","resourceType":"Patient",` + marked + `,"name":[{"family":"D"}]}`,
			`{"id":"1","resourceType":"Patient",` + marked + `}`},
		{"nothing of meta stays", limited,
			`{"id":"1","resourceType":"Patient","meta":{"source":"http://h/1"}}`,
			`{"id":"1","resourceType":"Patient",` + marked + `}`},
		{"drop leaves nothing", policyOf(t, "- \"*\": keep\n- Observation.status: drop"),
			`{"id":"1","resourceType":"Observation","status":"final"}`,
			`{"id":"1","resourceType":"Observation",` + marked + `}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			clinical := roundTrip(t, k, NewSealer("test", k, tt.policy), tt.name, parse(t, tt.whole))
			want := string(parse(t, tt.want).AppendCanonical(nil))
			if diff := cmp.Diff(want, string(clinical.AppendCanonical(nil))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestJoinAfterServer joins with what a server made of the clinical part.
func TestJoinAfterServer(t *testing.T) {
	k := testKeys(t)
	s := NewSealer("test", k, testPolicy(t, "limited-data-set"))
	whole := parse(t, `{"id":"1","resourceType":"Patient","name":[{"family":"Doe"}],"identifier":[{"value":"1"}],"birthDate":"1950-01-01"}`)
	sealed, err := s.SealNode(&Resource{Patient: "1"}, whole)
	if err != nil {
		t.Fatal(err)
	}
	_, pieces, _, err := k.Parts(sealed)
	if err != nil {
		t.Fatal(err)
	}
	server := parse(t, `{ "resourceType" : "Patient", "birthDate":"1950-01-01",
		"meta": {"versionId":"1","lastUpdated":"2026-01-01T00:00:00Z","security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"REDACTED","display":"redacted"}]}, "id": "1"}`)
	joined, err := Join(server, pieces)
	if err != nil {
		t.Fatal(err)
	}
	want := parse(t, `{"id":"1","resourceType":"Patient","name":[{"family":"Doe"}],"identifier":[{"value":"1"}],"birthDate":"1950-01-01","meta":{"versionId":"1","lastUpdated":"2026-01-01T00:00:00Z"}}`)
	if !joined.Equal(want) {
		t.Errorf("got %s", joined.AppendCanonical(nil))
	}
	if server.Get("name") != nil || server.At("meta", "security") == nil {
		t.Error("Join changed what it was given")
	}

	// A server that lost what a piece belongs into is named, not mended.
	whole = parse(t, `{"id":"1","resourceType":"Patient","contact":[{"gender":"male","name":{"family":"X"}}]}`)
	if sealed, err = s.SealNode(&Resource{Patient: "1"}, whole); err != nil {
		t.Fatal(err)
	}
	if _, pieces, _, err = k.Parts(sealed); err != nil {
		t.Fatal(err)
	}
	if _, err := Join(parse(t, `{"id":"1","resourceType":"Patient"}`), pieces); err == nil || !strings.Contains(err.Error(), "contact[0].name") {
		t.Error(err)
	}
}

// TestMarkFromWriter checks the place of the mark that a writer names against the one that is found without it.
func TestMarkFromWriter(t *testing.T) {
	k := testKeys(t)
	for _, meta := range []string{`{"profile":["p"],"tag":[{"code":"t"}]}`, `{"tag":[{"code":"t"}]}`, `{"profile":["p"]}`,
		`{"lastUpdated":"x","profile":["p"],"source":"y","tag":[{"code":"t"}]}`, `{"lastUpdated":"x","source":"y"}`,
		`{"profile":["p"],"source":"y"}`, `{"lastUpdated":"x","tag":[{"code":"t"}]}`} {
		whole := `{"id":"1","meta":` + meta + `,"name":[{"family":"D"}],"resourceType":"Patient"}`
		s := NewSealer("test", k, policyOf(t, "- code: keep"))
		r := &Resource{Type: "Patient", ID: "1", Whole: []byte(whole)}
		if err := s.Cut(r); err != nil {
			t.Fatal(err)
		}
		found, err := s.Seal(r)
		if err != nil {
			t.Fatal(err)
		}
		// A writer puts security where it sorts: after profile, before source and tag.
		at, metaAt := 0, strings.Index(whole, `"meta":`)+len(`"meta":`)
		if _, at = member(r.Whole, metaAt, "security"); at < 0 {
			t.Fatal(meta)
		}
		r.Mark = at
		named, err := s.Seal(r)
		if err != nil {
			t.Fatal(err)
		}
		if string(named.Clinical()) != string(found.Clinical()) {
			t.Errorf("%s:\n%s\n%s", meta, named.Clinical(), found.Clinical())
		}
		if got, err := k.Whole(named, nil); err != nil || string(got) != whole {
			t.Errorf("%s: %s, %v", meta, got, err)
		}
	}
}

func TestCutsMustFit(t *testing.T) {
	s := NewSealer("test", testKeys(t), testPolicy(t, "limited-data-set"))
	for name, cuts := range map[string][]Cut{
		"backwards":      {{Start: 20, End: 10, Path: "x"}},
		"overlapping":    {{Start: 10, End: 20, Path: "x"}, {Start: 15, End: 25, Path: "y"}},
		"behind the end": {{Start: 10, End: 100_000, Path: "x"}},
		"without a path": {{Start: 10, End: 20}},
	} {
		r := observationResource()
		r.Cuts = cuts
		if _, err := s.Seal(r); !errors.Is(err, errCuts) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Seal(&Resource{}); err == nil {
		t.Error("an empty resource was sealed")
	}
	r := observationResource()
	r.Whole = bytes.ReplaceAll(r.Whole, []byte(","), []byte(", "))
	if err := s.Cut(r); err == nil || !strings.Contains(err.Error(), "canonical") {
		t.Error(err)
	}
}

// TestSealReusesNothing seals from one buffer that changes, as a writer's does.
func TestSealReusesNothing(t *testing.T) {
	k := testKeys(t)
	s := NewSealer("test", k, testPolicy(t, "limited-data-set"))
	var all []Sealed
	r := observationResource()
	for i := range 1000 {
		copy(r.Whole[bytes.Index(r.Whole, []byte(`170.3`)):], fmt.Sprintf("%05d", 10000+i))
		sealed, err := s.Seal(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, sealed)
		r.Whole = bytes.Replace(r.Whole, fmt.Appendf(nil, "%05d", 10000+i), []byte("170.3"), 1)
	}
	for i, sealed := range all {
		whole, err := k.Whole(sealed, nil)
		if err != nil || !bytes.Contains(whole, fmt.Appendf(nil, "%05d", 10000+i)) {
			t.Fatalf("resource %d: %v", i, err)
		}
	}
}

func TestNothingPrints(t *testing.T) {
	k := testKeys(t)
	r := observationResource()
	sealer := NewSealer("test", k, testPolicy(t, "limited-data-set"))
	sealed, err := sealer.Seal(r)
	if err != nil {
		t.Fatal(err)
	}
	_, pieces, _, err := k.Parts(sealed)
	if err != nil {
		t.Fatal(err)
	}
	const planted = "Body Height"
	secret := NewSecret([]byte(planted))
	type inside struct {
		Secret Secret
		sealed Sealed
		secret Secret
		keys   *Keyring
		sealer *Sealer
		pieces []Piece
	}
	all := []any{secret, &secret, sealed, &sealed, k, *r, r, pieces[0], pieces,
		inside{Secret: secret, sealed: sealed, secret: secret, keys: k, sealer: sealer, pieces: pieces}, sealer, []Secret{secret}, map[string]Sealed{"a": sealed}}
	check := func(how, text string) {
		for _, shape := range []string{planted, fmt.Sprintf("%x", planted), fmt.Sprintf("%X", planted), fmt.Sprint([]byte(planted))[1:20], string(k.idKey), fmt.Sprint(k.idKey), fmt.Sprintf("%x", k.idKey)} {
			if strings.Contains(text, shape) {
				t.Errorf("%s shows it (%d bytes)", how, len(text))
			}
		}
	}
	for _, v := range all {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%X", "%q"} {
			check(fmt.Sprintf("%T under %s", v, verb), fmt.Sprintf(verb, v))
		}
		if text, err := json.Marshal(v); err == nil {
			check(fmt.Sprintf("%T as JSON", v), string(text))
		}
		var log bytes.Buffer
		core := zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "m"}), zapcore.AddSync(&log), zap.DebugLevel)
		zap.New(core).Debug("x", zap.Any("v", v), zap.Reflect("r", v), zap.String("s", fmt.Sprint(v)))
		check(fmt.Sprintf("%T in zap", v), log.String())
	}
	for _, v := range []any{secret, sealed, k, *r} {
		if got := fmt.Sprintf("%+v", v); got != redacted {
			t.Errorf("%T prints %q", v, got)
		}
		if text, err := json.Marshal(v); err != nil || string(text) != `"[redacted]"` {
			t.Errorf("%T is %s in JSON (%v)", v, text, err)
		}
	}
}

// TestSealersShareAPolicy cuts the same resources with one policy in several goroutines; the results must be equal.
func TestSealersShareAPolicy(t *testing.T) {
	k := testKeys(t)
	p := testPolicy(t, "limited-data-set")
	n := parse(t, `{"id":"1","resourceType":"Patient","identifier":[{"system":"http://hl7.org/fhir/sid/us-npi","value":"1"},{"value":"2"}],"name":[{"family":"D"}],"address":[{"city":"B","line":["1"]}]}`)
	parts := make([]string, 8)
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() {
			sealed, err := NewSealer("test", k, p).SealNode(&Resource{Patient: "1"}, n)
			if err != nil {
				t.Error(err)
				return
			}
			parts[i] = string(sealed.Clinical())
		})
	}
	wg.Wait()
	for _, part := range parts {
		if part != parts[0] {
			t.Errorf("%s\n%s", part, parts[0])
		}
	}
}
