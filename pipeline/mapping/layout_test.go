package mapping

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestLayouts(t *testing.T) {
	cases := []struct{ layout, text, want string }{
		{"dd.MM.yyyy", "09.03.2024", "2024-03-09"},
		{"dd.MM.yyyy", "9.3.2024", ""},
		{"d.M.yyyy", "9.3.2024", "2024-03-09"},
		{"d.M.yyyy", "09.03.2024", "2024-03-09"},
		{"M/d/yyyy", "2/30/2024", ""},
		{"M/d/yy", "2/3/29", "2029-02-03"},
		{"M/d/yy", "2/3/30", "1930-02-03"},
		{"yyyyMMdd", "20240309", "2024-03-09"},
		{"MMM d, yyyy", "Mar 9, 2024", "2024-03-09"},
		{"d MMMM yyyy", "9 march 2024", "2024-03-09"},
		{"EEE dd MMM yyyy", "Sat 09 MAR 2024", "2024-03-09"},
		{"EEE dd MMM yyyy", "Sun 09 Mar 2024", ""},
		{"MM/yyyy", "03/2024", "2024-03"},
		{"MM/yyyy", "13/2024", ""},
		{"yyyy", "2024", "2024"},
		{"yyyy", "02024", ""},
		{"dd.MM.yyyy HH:mm", "09.03.2024 14:05", "2024-03-09T14:05:00-06:00"},
		{"dd.MM.yyyy HH:mm", "09.07.2024 14:05", "2024-07-09T14:05:00-05:00"},
		{"dd.MM.yyyy HH:mm", "09.03.2024 24:00", ""},
		{"M/d/yyyy h:mm a", "3/9/2024 12:05 am", "2024-03-09T00:05:00-06:00"},
		{"M/d/yyyy h:mm a", "3/9/2024 12:05 PM", "2024-03-09T12:05:00-06:00"},
		{"M/d/yyyy h:mm a", "3/9/2024 13:05 PM", ""},
		{"yyyy-MM-dd'T'HH:mm:ss.SXXX", "2024-03-09T14:05:06.120+01:00", "2024-03-09T14:05:06.120+01:00"},
		{"yyyy-MM-dd HH:mm:ssXX", "2024-03-09 14:05:06-0530", "2024-03-09T14:05:06-05:30"},
		{"yyyy-MM-dd HH:mm", "2024-03-10 02:30", string(NonexistentTime)},
		{"yyyy-MM-dd HH:mm", "2024-03-10 01:59", "2024-03-10T01:59:00-06:00"},
		{"yyyy-MM-dd HH:mm", "2024-03-10 03:00", "2024-03-10T03:00:00-05:00"},
		{"yyyy-MM-dd HH:mm", "2024-11-03 01:30", string(AmbiguousTime)},
		{"yyyy-MM-dd HH:mm", "2024-11-03 02:00", "2024-11-03T02:00:00-06:00"},
	}
	chicago, err := time.LoadLocation("America/Chicago")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		l, _, err := compileLayout(c.layout)
		if err != nil {
			t.Errorf("%s: %v", c.layout, err)
			continue
		}
		var m moment
		got := ""
		if l.read(c.text, &m) {
			if !m.hasTime {
				got = string(m.appendDate(nil, l.date))
			} else if text, code := m.appendDateTime(nil, &zoneReader{zone: chicago}); code != "" {
				got = string(code)
			} else {
				got = string(text)
			}
		}
		if got != c.want {
			t.Errorf("%s of %q: got %q, want %q", c.layout, c.text, got, c.want)
		}
	}
}

func TestLayoutFaults(t *testing.T) {
	for layout, want := range map[string]string{
		"DD.MM.yyyy": "did you mean dd?", "dd.MM.YYYY": "did you mean yyyy?", "dd.mm.yyyy": "month", "MM": "no year", "dd.MM.yyyy hh:mm": "HH is the hour",
		"dMyyyy": "two ways", "yyyy-MM-dd HH": "without minutes", "yyyy yyyy": "twice", "yyyy 'x": "does not end",
	} {
		if _, _, err := compileLayout(layout); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", layout, err)
		}
	}
}

// TestZoneOffsets: a local time that exists once has the offset that the zone has at that instant, whatever was asked
// before (the reader remembers), and is refused exactly if there is no or more than one instant.
func TestZoneOffsets(t *testing.T) {
	for _, name := range []string{"America/Chicago", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata", "UTC", "Pacific/Apia"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		z := &zoneReader{zone: zone}
		rapid.Check(t, func(rt *rapid.T) {
			seconds := rapid.Int64Range(0, 2_000_000_000).Draw(rt, "at")
			u := time.Unix(seconds, 0).UTC()
			m := &moment{year: u.Year(), month: int(u.Month()), day: u.Day(), hour: u.Hour(), minute: u.Minute(), second: u.Second(), hasTime: true}
			found := map[int]bool{}
			for offset := -15 * 3600; offset <= 15*3600; offset += 900 {
				if _, real := time.Unix(seconds-int64(offset), 0).In(zone).Zone(); real == offset {
					found[offset] = true
				}
			}
			offset, code := z.offset(m)
			switch {
			case len(found) == 0 && code != NonexistentTime, len(found) > 1 && code != AmbiguousTime, len(found) == 1 && (code != "" || !found[offset]):
				rt.Fatalf("%s: %d offsets possible, got %d %q", name, len(found), offset, code)
			}
		})
	}
}

// FuzzISO: no panic, and what is read has FHIR's form again.
func FuzzISO(f *testing.F) {
	for _, s := range []string{"2024", "2024-02", "2024-02-29", "2024-02-29T10:00", "2024-02-29 10:00:00.5+0100", "0000-00-00", "2024-02-29T10:00:00Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var m moment
		precision, ok := readISO(s, &m)
		if !ok {
			return
		}
		text := m.appendDate(nil, precision)
		if m.hasTime {
			text, _ = m.appendDateTime(nil, &zoneReader{zone: time.UTC})
		}
		var again moment
		if _, ok := readISO(string(text), &again); !ok {
			t.Errorf("%q became %q", s, text)
		}
	})
}

func TestParseID(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var id ID
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(rt, "id"))
		if got, ok := ParseID(id.String()); !ok || got != id {
			rt.Fatal(id.String())
		}
	})
	for _, bad := range []string{"", "x", strings.Repeat("A", 32), strings.Repeat("1", 32)} {
		if _, ok := ParseID(bad); ok {
			t.Error(bad)
		}
	}
}

// TestPlaces: a fault inside a formula is placed in the file, whatever way the scalar is written.
func TestPlaces(t *testing.T) {
	for i, c := range []struct{ line, want string }{
		{"  valueString: = NOTE & BAD\n", "9:25"},
		{"  valueString: '= NOTE & ''x'' & BAD'\n", "9:34"},
		{"  valueString: \"= NOTE & '\\u00e9' & BAD\"\n", "9:37"},
		{"  valueString: |\n    = NOTE &\n      BAD\n", "11:7"},
		{"  valueString: >-\n    = NOTE &\n    'é' & BAD\n", "11:11"},
		{"  valueString: = NOTE &\n    BAD\n", "10:5"},
	} {
		_, _, faults := compileFiles(t, obs("", c.line))
		if len(faults) != 1 || !strings.HasPrefix(faults[0].String(), "pack/observation.yaml:"+c.want+": ") {
			t.Errorf("%d: %v", i, fmt.Sprint(faults))
		}
	}
}
