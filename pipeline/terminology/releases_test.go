package terminology

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

const (
	conceptHead      = "id\teffectiveTime\tactive\tmoduleId\tdefinitionStatusId\n"
	descriptionHead  = "id\teffectiveTime\tactive\tmoduleId\tconceptId\tlanguageCode\ttypeId\tterm\tcaseSignificanceId\n"
	relationshipHead = "id\teffectiveTime\tactive\tmoduleId\tsourceId\tdestinationId\trelationshipGroup\ttypeId\tcharacteristicTypeId\tmodifierId\n"
)

func concepts(ids ...string) (rows string) {
	for _, id := range ids {
		rows += id + "\t20260101\t1\t900000000000207008\t900000000000074008\n"
	}
	return rows
}

func isaRow(from, to string) string {
	return "9\t20260101\t1\t900000000000207008\t" + from + "\t" + to + "\t0\t116680003\t900000000000011006\t900000000000451002\n"
}

func nameRow(id, kind, term string) string {
	return "8\t20260101\t1\t900000000000207008\t" + id + "\ten\t" + kind + "\t" + term + "\t900000000000448009\n"
}

// snomedFiles is a made-up release of six concepts: 1 is the root, 2 and 3 below it, 4 below both, 5 below 4, 6 retired.
func snomedFiles() fstest.MapFS {
	const place = "SnomedCT/Snapshot/Terminology/"
	return folder(
		place+"sct2_Concept_Snapshot_US1000124_20260301.txt", conceptHead+concepts("1", "2", "3", "4", "5")+"6\t20260101\t0\t900000000000207008\t900000000000074008\r\n",
		place+"sct2_Description_Snapshot-en_US1000124_20260301.txt", descriptionHead+nameRow("4", "900000000000013009", "A synonym")+nameRow("4", "900000000000003001", "Four \"quoted\" (finding)"),
		place+"sct2_Relationship_Snapshot_US1000124_20260301.txt", relationshipHead+isaRow("2", "1")+isaRow("3", "1")+isaRow("4", "2")+isaRow("4", "3")+isaRow("5", "4")+
			strings.Replace(isaRow("5", "1"), "116680003", "363698007", 1)+strings.Replace(isaRow("3", "2"), "\t1\t9", "\t0\t9", 1),
		place+"sct2_StatedRelationship_Snapshot_US1000124_20260301.txt", relationshipHead+isaRow("1", "5"),
		"SnomedCT/Full/Terminology/sct2_Concept_Full_US1000124_20260301.txt", conceptHead+concepts("1", "1", "7"),
		"SnomedCT/Readme.txt", "about",
	)
}

func TestSnomed(t *testing.T) {
	s := brought(t, snomedFiles(), "SnomedCT")
	c := s.CodeSystem("http://snomed.info/sct")
	if c.Len() != 6 || c.Version() != "http://snomed.info/sct/731000124108/version/20260301" || !c.Has("6") || c.Has("7") {
		t.Errorf("%d concepts of version %s", c.Len(), c.Version())
	}
	if name, _ := c.Display("4"); name != `Four "quoted" (finding)` {
		t.Errorf("4 is %q", name)
	}
	for pair, want := range map[string]string{"1 5": Subsumes, "5 1": SubsumedBy, "2 5": Subsumes, "3 5": Subsumes, "2 3": NotSubsumed, "3 2": NotSubsumed, "1 6": NotSubsumed, "4 4": Equivalent} {
		a, b, _ := strings.Cut(pair, " ")
		if got, ok := c.Subsumes(a, b); !ok || got != want {
			t.Errorf("%s: %s", pair, got)
		}
	}
	below := s.ValueSet("http://snomed.info/sct?fhir_vs=isa/3")
	for code, want := range map[string]Verdict{"3": In, "4": In, "5": In, "2": NotIn, "6": NotIn, "7": NotIn, "x": NotIn, "4:2=5": NotKnown} {
		if got := below.Has("http://snomed.info/sct", "", code); got != want {
			t.Errorf("%s below 3 is %v", code, got)
		}
	}
	if s.ValueSet("http://snomed.info/sct?fhir_vs").HasCode("6") != In || s.ValueSet("http://snomed.info/sct?fhir_vs=ecl/x") != nil {
		t.Errorf("implicit value sets")
	}
	if got := below.Has("http://snomed.info/sct", "http://snomed.info/sct/900000000000207008/version/20200101", "7"); got != NotKnown {
		t.Errorf("a code of another version is %v", got)
	}
}

func TestLOINC(t *testing.T) {
	s := brought(t, folder("Loinc.csv", `"LOINC_NUM","COMPONENT","SCALE_TYP","CLASS","STATUS","CLASSTYPE","LONG_COMMON_NAME"
"8480-6","Intravascular systolic","Qn","BP.ATOM","ACTIVE","2","Systolic blood pressure"
"11506-3","Progress note","Doc","DOC.ONTOLOGY","ACTIVE","2","Progress note"
"1009-0","Direct antiglobulin test","Ord","BLDBK","DEPRECATED","1","Deprecated test"
`, "sets.ndjson", loincSet("1", `[{"property":"SCALE_TYP","op":"=","value":"DOC"}]`)+loincSet("2", `[{"property":"CLASSTYPE","op":"in","value":"1, 3"}]`)+
		loincSet("3", `[{"property":"LIST","op":"=","value":"LL1"}]`)+loincSet("4", `[{"property":"STATUS","op":"exists","value":"false"}]`)), ".")
	c := s.CodeSystem(loincSystem)
	for code, want := range map[string]Verdict{"8480-6": In, "8480-7": NotIn, "LA6576-8": NotKnown, "la6576-8": NotKnown, "LP7753-9": NotKnown, "L": NotIn} {
		if c.has(code) != want {
			t.Errorf("%s is %v", code, c.has(code))
		}
	}
	for _, q := range []struct {
		set, code string
		want      Verdict
		why       bool
	}{
		{"1", "11506-3", In, false}, {"1", "8480-6", NotIn, false}, {"1", "LA1-1", NotIn, false}, {"2", "1009-0", In, false}, {"2", "8480-6", NotIn, false},
		{"3", "8480-6", NotKnown, true}, {"3", "8480-7", NotIn, true}, {"4", "8480-6", NotIn, true}, {"4", "LA1-1", NotKnown, true},
	} {
		v := s.ValueSet("http://x/" + q.set)
		if got := v.Has(loincSystem, "", q.code); got != q.want || (v.Why() != "") != q.why {
			t.Errorf("%s in %s is %v (%s)", q.code, q.set, got, v.Why())
		}
	}
	if v := s.ValueSet("http://loinc.org/vs"); v.Has(loincSystem, "", "8480-6") != In || v.HasCode("LA1-1") != NotKnown || v.Why() == "" {
		t.Errorf("all of LOINC: %s", v.Why())
	}
}

func loincSet(name, filter string) string {
	return `{"resourceType":"ValueSet","url":"http://x/` + name + `","compose":{"include":[{"system":"http://loinc.org","filter":` + filter + "}]}}\n"
}

func TestRxNorm(t *testing.T) {
	row := func(cui, sab, tty, name, suppress string) string {
		return strings.Join([]string{cui, "ENG", "", "", "", "", "", "1", "", "", "", sab, tty, "9", name, "", suppress, "4096", ""}, "|") + "\n"
	}
	s := brought(t, folder("rrf/RXNCONSO.RRF", row("161", "RXNORM", "SY", "APAP", "N")+row("161", "RXNORM", "IN", "acetaminophen", "N")+row("161", "MTHSPL", "SU", "ACETAMINOPHEN", "N")+
		row("198440", "RXNORM", "SCD", "acetaminophen 500 MG Oral Tablet", "N")+row("5", "RXNORM", "SCD", "old", "O")+row("6", "MTHSPL", "SU", "other", "N"),
		"set.json", `{"resourceType":"ValueSet","url":"http://x/drugs","compose":{"include":[{"system":"`+rxnormSystem+`","filter":[{"property":"TTY","op":"in","value":"SCD,SBD"}]}]}}`), ".")
	c := s.CodeSystem(rxnormSystem)
	if name, _ := c.Display("161"); c.Len() != 3 || name != "acetaminophen" || c.Has("6") || !c.concepts[c.at("5")].inactive || c.concepts[c.at("161")].inactive {
		t.Errorf("%d concepts, 161 is %q", c.Len(), name)
	}
	v := s.ValueSet("http://x/drugs")
	if v.Why() != "" || v.HasCode("198440") != In || v.HasCode("5") != In || v.HasCode("161") != NotIn {
		t.Errorf("%s %v %v", v.Why(), v.HasCode("198440"), v.HasCode("161"))
	}
}

// TestLargeRelease reads a made-up release of the size of SNOMED CT, and tells what it costs.
func TestLargeRelease(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const count = 500_000
	random := rand.New(rand.NewPCG(1, 2))
	var rows, names, links strings.Builder
	rows.WriteString(conceptHead)
	names.WriteString(descriptionHead)
	links.WriteString(relationshipHead)
	id := func(i int) string { return fmt.Sprint(100_000_000 + 17*i) }
	for i := range count {
		rows.WriteString(concepts(id(i)))
		names.WriteString(nameRow(id(i), "900000000000003001", fmt.Sprintf("Made-up disorder of the organ number %d (disorder)", i)))
		for range min(i, 1+random.IntN(2)) {
			links.WriteString(isaRow(id(i), id(random.IntN(i/8+1))))
		}
	}
	files := folder("c.txt", rows.String(), "d.txt", names.String(), "r.txt", links.String())
	before := heap()
	start := time.Now()
	d, faults := ReadFiles(t.Context(), files, "c.txt", "d.txt", "r.txt")
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	took, used := time.Since(start), heap()-before
	c := d.Systems()[0]
	runtime.KeepAlive(files)
	start = time.Now()
	below := 0
	for range 100_000 {
		if c.under(int32(random.IntN(count)), int32(random.IntN(50))) {
			below++
		}
	}
	t.Logf("%d concepts read in %v, %d MB held, %v for one question of ancestry (%d below)", c.Len(), took, used>>20, time.Since(start)/100_000, below)
	if c.Len() != count || used > 120<<20 || below == 0 {
		t.Errorf("%d concepts, %d MB", c.Len(), used>>20)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
