package sandbox

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// span is a stretch of time, in Unix milliseconds: from the first, up to but without the second.
type span struct{ from, to int64 }

var always = span{math.MinInt64, math.MaxInt64}

// spanOf is the time that a date, dateTime or instant of any precision covers (search.html#date). What carries no zone
// is in UTC.
func spanOf(text string) (span, bool) {
	if !fhir.ValidDateTime(text) {
		// Searches may leave out the seconds or the zone.
		for _, form := range []string{"2006-01-02T15:04", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05"} {
			if at, err := time.Parse(form, text); err == nil {
				unit := time.Minute
				if form == "2006-01-02T15:04:05" {
					unit = time.Second
				}
				return span{at.UnixMilli(), at.Add(unit).UnixMilli()}, true
			}
		}
		return span{}, false
	}
	if len(text) <= len("2006-01-02") {
		year, month, day := text, 1, 1
		if len(text) >= 7 {
			year = text[:4]
			month, _ = strconv.Atoi(text[5:7])
		}
		if len(text) == 10 {
			day, _ = strconv.Atoi(text[8:10])
		}
		y, _ := strconv.Atoi(year)
		from := time.Date(y, time.Month(month), day, 0, 0, 0, 0, time.UTC)
		to := from.AddDate(1, 0, 0)
		switch len(text) {
		case 7:
			to = from.AddDate(0, 1, 0)
		case 10:
			to = from.AddDate(0, 0, 1)
		}
		return span{from.UnixMilli(), to.UnixMilli()}, true
	}
	// A leap second is the second after it.
	at, err := time.Parse(time.RFC3339Nano, strings.Replace(text, ":60", ":59", 1))
	if err != nil {
		return span{}, false
	}
	if !strings.Contains(text, ".") {
		return span{at.UnixMilli(), at.Add(time.Second).UnixMilli()}, true
	}
	return span{at.UnixMilli(), at.UnixMilli() + 1}, true
}

// spanAt is the time that an element of a resource covers: a date, a Period, a Timing.
func spanAt(n *fhir.Node) (span, bool) {
	if n == nil {
		return span{}, false
	}
	if n.Kind == fhir.String {
		return spanOf(n.Text)
	}
	if n.Kind != fhir.Object {
		return span{}, false
	}
	if bounds := n.At("repeat", "boundsPeriod"); bounds != nil {
		return spanAt(bounds)
	}
	if events := n.Get("event"); events != nil {
		all, known := span{math.MaxInt64, math.MinInt64}, false
		for _, event := range events.Items {
			if s, ok := spanAt(event); ok {
				all, known = span{min(all.from, s.from), max(all.to, s.to)}, true
			}
		}
		return all, known
	}
	start, end := n.Get("start"), n.Get("end")
	if start == nil && end == nil {
		return span{}, false
	}
	all := always
	if s, ok := spanAt(start); ok {
		all.from = s.from
	}
	if s, ok := spanAt(end); ok {
		all.to = s.to
	}
	return all, true
}

// dateTest is one condition on a time: a prefix and the time it is compared with.
type dateTest struct {
	prefix string
	span
}

// parseDateTest reads ge2012-01-01 and the like.
func parseDateTest(text string) (dateTest, bool) {
	prefix := "eq"
	if len(text) > 2 && text[0] >= 'a' && text[0] <= 'z' {
		prefix, text = text[:2], text[2:]
	}
	switch prefix {
	case "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap":
	default:
		return dateTest{}, false
	}
	s, ok := spanOf(text)
	return dateTest{prefix, s}, ok
}

// holds tells whether a time meets the condition (search.html#prefix).
func (t dateTest) holds(s span) bool {
	within := s.from >= t.from && s.to <= t.to
	switch t.prefix {
	case "ne":
		return !within
	case "gt":
		return s.to > t.to
	case "lt":
		return s.from < t.from
	case "ge":
		return within || s.to > t.to
	case "le":
		return within || s.from < t.from
	case "sa":
		return s.from >= t.to
	case "eb":
		return s.to <= t.from
	case "ap":
		return s.from < t.to && s.to > t.from
	}
	return within
}
