package terminology

import (
	"compress/gzip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

const gemHead = "# gem: g.txt\n# system: " + ICD9CM + "\n# target: " + ICD10CM + "\n"

func TestAddGEM(t *testing.T) {
	m := readMap(t, "m", gemHead+csvHead+"25002,"+ICD10CM+",E11.65,,narrower\nE000.1,,,,unmatched\n")
	if m.GEM() != "g.txt" {
		t.Errorf("the file is %q", m.GEM())
	}
	before := m.Digest()
	faults := m.AddGEM("g.txt", strings.NewReader(`0010  A000    00000
25000 E119    10000
25002 E1165   10000
25002 E1169   10000
E0000 Y990    10000
E0001 Y991    10000
V0181 Z20810  10000
64641 O3500X0 10000
64641 O3510X0 10000
E9500 NoDx    11000
20491 C9590   10111
20491 C9591   10112
20491 C9592   10112
24901 E0965   10111
24901 E0969   10112
80000 S020XXA 10111
80000 S0630A  10121
80001 S020XXB 00000
80001 S0630B  10111
`))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	to := func(relationship string, codes ...string) (out []Coding) {
		for _, c := range codes {
			out = append(out, Coding{System: ICD10CM, Code: c, Relationship: relationship})
		}
		return out
	}
	for code, want := range map[string]Entry{
		"001.0":  {Code: "001.0", Targets: to("equivalent", "A00.0")},
		"0010":   {Code: "001.0", Targets: to("equivalent", "A00.0")},
		"250.00": {Code: "250.00", Targets: to("relatedto", "E11.9")},
		"25002":  {Code: "250.02", Targets: to("narrower", "E11.65")}, // the map's own line, of a code that the file leaves open
		"250.02": {Code: "250.02", Targets: to("narrower", "E11.65")},
		"E0000":  {Code: "E000.0", Targets: to("relatedto", "Y99.0")},
		"E0001":  {Code: "E000.1"}, // the map's own line
		"V01.81": {Code: "V01.81", Targets: to("relatedto", "Z20.810")},
		"646.41": {Code: "646.41", Targets: to("relatedto", "O35.00X0", "O35.10X0"), Choice: true},
		"E950.0": {Code: "E950.0"},
		"204.91": {Code: "204.91", Targets: to("relatedto", "C95.90", "C95.91", "C95.92"), Choice: true}, // two codes of one list
		"249.01": {Code: "249.01", Targets: to("relatedto", "E09.65", "E09.69")},                         // both hold
		"800.00": {Code: "800.00", Targets: to("relatedto", "S02.0XXA", "S06.30A"), Choice: true},        // two scenarios
		"800.01": {Code: "800.01", Targets: append(to("equivalent", "S02.0XXB"), to("relatedto", "S06.30B")...), Choice: true},
	} {
		if got, ok := m.Lookup(code); !ok || !cmp.Equal(want, got) {
			t.Errorf("%s (-want +got)\n%s", code, cmp.Diff(want, got))
		}
	}
	if m.GEM() != "" || m.Digest() == before {
		t.Error("the file is not part of the digest")
	}
}

func TestGEMFaults(t *testing.T) {
	m := readMap(t, "m", gemHead+csvHead)
	faults := m.AddGEM("g.txt", strings.NewReader("0010  A000    00000\n0010  A000    00000\nA000  0010    00000\n0011  0010    00000\n0012  A002    0000\n0013\n"+
		"0014  NoDx    11111\n0015  A005    00110\n0016  A006    20000\n0010  A0\u00e9    00000\n"))
	want := `g.txt:2: the line is there twice
g.txt:3: the source code is none of ICD-9-CM (the file of the other direction has them there)
g.txt:4: the target code is none of ICD-10-CM
g.txt:5: the line is not one of a GEM file (source code, target code and five digits)
g.txt:6: the line is not one of a GEM file (source code, target code and five digits)
g.txt:7: the flags contradict each other
g.txt:8: the flags contradict each other
g.txt:9: the line is not one of a GEM file (source code, target code and five digits)
g.txt:10: the target code is none of ICD-10-CM`
	if diff := cmp.Diff(want, faults.Error()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for text, want := range map[string]string{
		"":                            "g.txt: the file is empty",
		strings.Repeat("x", 5000):     "g.txt:1: the file cannot be read: a line is too long",
		strings.Repeat("x y z\n", 99): "g.txt:1: the line is not one",
	} {
		if faults := readMap(t, "m", gemHead+csvHead).AddGEM("g.txt", strings.NewReader(text)); len(faults) == 0 || !strings.HasPrefix(faults[0].String(), want) {
			t.Errorf("%v, want %s", faults, want)
		}
	}
	faults = readMap(t, "m", "# gem: g.txt\n"+csvHead).AddGEM("g.txt", strings.NewReader(""))
	if len(faults) != 2 || !strings.HasPrefix(faults[0].String(), "m:1:8: a map with a GEM file says in `# system:` what its codes belong to") {
		t.Errorf("%v", faults)
	}
}

// The whole of CMS's last edition: as many codes of each kind as awk counts in the same files.
//
//	zcat FILE | awk '{n[$1]++; if(substr($3,2,1)=="1"){none[$1]=1} else if(substr($3,3,1)=="1"){s=substr($3,4,1); l=substr($3,5,1);
//	  if(++sc[$1" "s]==1) nsc[$1]++; if(++li[$1" "s" "l]>1) multi[$1]=1} else {single[$1]++; if(substr($3,1,1)=="0") ex[$1]=1}}
//	  END{for(c in n){if(nsc[c]==0&&single[c]==0) u++; else if(single[c]>1||nsc[c]>1||(single[c]>0&&nsc[c]>0)||multi[c]) alt++;
//	  else if(nsc[c]==1) comb++; else if(ex[c]) e++; else a++}; print length(n),u,alt,comb,e,a}'
func TestWholeGEM(t *testing.T) {
	for _, c := range []struct {
		file, source, target               string
		codes, none, choice, comb, eq, rel int
	}{
		{"2018_I9gem.txt.gz", ICD9CM, ICD10CM, 14567, 422, 3075, 305, 3521, 7244},
		{"2018_I10gem.txt.gz", ICD10CM, ICD9CM, 71704, 731, 4011, 3851, 3516, 59595},
	} {
		f, err := os.Open(sharedtest.Path(t, "data", "terminology", c.file))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		m := readMap(t, "m", "# gem: "+c.file+"\n# system: "+c.source+"\n# target: "+c.target+"\n"+csvHead)
		if faults := m.AddGEM(c.file, z); len(faults) > 0 {
			t.Fatal(faults[0])
		}
		var codes, none, choice, comb, eq, rel int
		for code, e := range m.Codes() {
			if code != e.Code {
				if code != strings.ReplaceAll(e.Code, ".", "") {
					t.Errorf("%s is a spelling of %s", code, e.Code)
				}
				continue
			}
			codes++
			switch {
			case len(e.Targets) == 0:
				none++
			case e.Choice:
				choice++
			case len(e.Targets) > 1:
				comb++
			case e.Targets[0].Relationship == "equivalent":
				eq++
			default:
				rel++
			}
		}
		got := [...]int{codes, none, choice, comb, eq, rel}
		if want := [...]int{c.codes, c.none, c.choice, c.comb, c.eq, c.rel}; got != want {
			t.Errorf("%s: codes, without target, alternatives, combinations, exact, approximate: %v, want %v", c.file, got, want)
		}
	}
}

func FuzzAddGEM(f *testing.F) {
	f.Add("0010  A000    00000\n20491 C9590   10111\nE9500 NoDx    11000\n")
	f.Fuzz(func(t *testing.T, text string) {
		m, _ := ReadCSV("m", strings.NewReader(gemHead+csvHead))
		if faults := m.AddGEM("g", strings.NewReader(text)); (len(faults) == 0) != (m.GEM() == "") {
			t.Errorf("faults: %d, file: %q", len(faults), m.GEM())
		}
		for code, e := range m.Codes() {
			if e.Code == "" || code != e.Code && strings.ReplaceAll(e.Code, ".", "") != code {
				t.Errorf("%q is a spelling of %q", code, e.Code)
			}
		}
	})
}
