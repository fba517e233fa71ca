package fhirpath

import "testing"

// ward is a terminology of one value set and one code system, in which b and c are kinds of a. Its second value set has
// codes of a system that is not at hand.
type ward struct{}

const (
	wardSystem = "http://ward.example/codes"
	wardSet    = "http://ward.example/set"
	openSet    = "http://ward.example/open"
)

func (ward) HasCode(valueSet, code string) (in, known bool) {
	return code == "a", valueSet == wardSet || code == "a"
}

func (w ward) HasCoding(valueSet, system, version, code string) (in, known bool) {
	if system == "http://far.example" {
		return false, false
	}
	in, _ = w.HasCode(valueSet, code)
	return in && system == wardSystem && version != "0", valueSet == wardSet || valueSet == openSet
}

func (ward) Subsumes(system, a, b string) (subsumes, known bool) {
	return a == "a" && (b == "b" || b == "c"), system == wardSystem
}

// TestCodes gives each answer over a resource that holds codes in all their forms: "" is empty.
func TestCodes(t *testing.T) {
	focus := resource(t, `{"resourceType":"Basic","code":{"coding":[{"system":"http://far.example","code":"x"},{"system":"http://ward.example/codes","code":"a"}]},
		"identifier":[{"type":{"coding":[{"system":"http://ward.example/codes","code":"b"}]}},{"type":{"coding":[{"system":"http://far.example","code":"a"}]}},
			{"type":{"text":"nothing coded"}},{"use":"usual","type":{"coding":[{"system":"http://ward.example/codes","version":"0","code":"a"}]}}],
		"meta":{"tag":[{"system":"http://ward.example/codes","code":"b"},{"code":"b"},{"display":"no code"}]}}`)
	for expression, want := range map[string]string{
		"'a'.memberOf('" + wardSet + "')":                               "true",
		"'b'.memberOf('" + wardSet + "')":                               "false",
		"'b'.memberOf('" + openSet + "')":                               "",
		"'b'.memberOf('http://nothing')":                                "",
		"code.memberOf('" + wardSet + "')":                              "true",
		"code.coding[1].memberOf('" + wardSet + "')":                    "true",
		"code.coding[0].memberOf('" + wardSet + "')":                    "",
		"identifier[0].type.memberOf('" + wardSet + "')":                "false",
		"identifier[1].type.memberOf('" + wardSet + "')":                "",
		"identifier[2].type.memberOf('" + wardSet + "')":                "false",
		"identifier[3].type.memberOf('" + wardSet + "')":                "false",
		"identifier[3].type.memberOf('http://nothing')":                 "",
		"identifier[3].use.memberOf('" + wardSet + "')":                 "false",
		"code.coding.memberOf('" + wardSet + "')":                       "", // several
		"('a' | 'a').memberOf('" + wardSet + "')":                       "true",
		"('a' | 'b').memberOf('" + wardSet + "')":                       "",
		"{}.memberOf('" + wardSet + "')":                                "",
		"code.subsumes(identifier[0].type)":                             "true",
		"code.subsumes(meta.tag[0])":                                    "true",
		"meta.tag[0].subsumes(code)":                                    "false",
		"meta.tag[0].subsumedBy(code)":                                  "true",
		"code.subsumedBy(meta.tag[0])":                                  "false",
		"code.subsumes(code)":                                           "true",
		"code.subsumes(identifier[1].type)":                             "", // of the far system nothing is known
		"identifier[0].type.subsumes(identifier[1].type)":               "", // different systems
		"meta.tag[0].subsumes(meta.tag[1])":                             "",
		"meta.tag[1].subsumes(meta.tag[1])":                             "true",
		"meta.tag[2].subsumes(meta.tag[2])":                             "",
		"'a'.subsumes('a')":                                             "true",
		"'a'.subsumes('b')":                                             "",
		"'a'.subsumes(meta.tag[0])":                                     "",
		"identifier.where(type.memberOf('" + wardSet + "')).count()":    "0",
		"identifier.select(type.memberOf('" + wardSet + "')).count()":   "3",
		"identifier.type.coding.where(subsumedBy(%resource.code)).code": "ba",
	} {
		checkCodes(t, &Env{Terminology: ward{}}, focus, expression, want)
	}
}

// TestCodesBuiltIn is what an expression knows without a terminology.
func TestCodesBuiltIn(t *testing.T) {
	focus := resource(t, `{"resourceType":"Patient","gender":"female","maritalStatus":{"coding":[{"system":"s","code":"M"}]}}`)
	for expression, want := range map[string]string{
		"gender.memberOf('http://hl7.org/fhir/ValueSet/administrative-gender')":        "true",
		"'woman'.memberOf('http://hl7.org/fhir/ValueSet/administrative-gender|4.0.1')": "false",
		"gender.memberOf('http://nothing')":                                            "",
		"maritalStatus.subsumes(maritalStatus)":                                        "true",
		"maritalStatus.subsumes(maritalStatus.coding.first())":                         "true",
		"gender.subsumes('other')":                                                     "",
	} {
		checkCodes(t, &Env{}, focus, expression, want)
	}
}

func TestUndecided(t *testing.T) {
	focus := resource(t, `{"resourceType":"Patient","gender":"a","language":"b"}`)
	c := NewContext()
	for expression, want := range map[string]bool{
		"gender.memberOf('" + openSet + "')":                                   false,
		"language.memberOf('" + openSet + "')":                                 true,
		"birthDate.memberOf('" + openSet + "')":                                false,
		"(gender | language).memberOf('" + openSet + "')":                      false,
		"(gender | language).where($this.memberOf('" + openSet + "')).first()": true,
		"gender.subsumes(language)":                                            true,
		"gender.subsumedBy(gender)":                                            false,
	} {
		e, problems := Compile(expression, &Env{Terminology: ward{}})
		if e == nil {
			t.Fatalf("%s: %+v", expression, problems)
		}
		c.Undecided = false
		if _, err := e.Append(c, focus, nil); err != nil || c.Undecided != want {
			t.Errorf("%s: undecided %v, %v", expression, c.Undecided, err)
		}
	}
}

// checkCodes evaluates an expression; want is the texts of the result, one after the other.
func checkCodes(t *testing.T, env *Env, focus Value, expression, want string) {
	t.Helper()
	e, problems := Compile(expression, env)
	if e == nil {
		t.Errorf("%s: %+v", expression, problems)
		return
	}
	got, err := e.Append(NewContext(), focus, nil)
	text := ""
	for _, v := range got {
		text += v.Text()
	}
	if err != nil || text != want {
		t.Errorf("%s: %q, %v, want %q", expression, text, err, want)
	}
}
