package sqldump

import (
	"strings"
	"time"
)

// findZone returns a time zone by its name in the IANA database, in whatever case: Oracle writes them in capitals. nil if
// there is none.
func findZone(name string) *time.Location {
	if name == "" || strings.EqualFold(name, "local") {
		return nil
	}
	lower := []byte(strings.ToLower(name))
	for i, c := range lower {
		if i == 0 || strings.IndexByte("/_-", lower[i-1]) >= 0 {
			lower[i] = strings.ToUpper(string(c))[0]
		}
	}
	title := string(lower)
	small := strings.NewReplacer("_Of_", "_of_", "_Es_", "_es_", "-Au-", "-au-").Replace(title)
	for _, n := range []string{name, title, small, strings.ToUpper(name), strings.Replace(title, "Us/", "US/", 1), strings.Replace(title, "Etc/Gmt", "Etc/GMT", 1)} {
		if zone, err := time.LoadLocation(n); err == nil {
			return zone
		}
	}
	return nil
}

// momentIn is the moment at which the clocks of a zone show a time; false if they show it twice, or never.
func momentIn(local time.Time, zone *time.Location) (moment time.Time, ok bool) {
	const day = 24 * time.Hour
	found := 0
	last := 0
	for i, near := range []time.Time{local.Add(-day), local.Add(day)} {
		_, offset := near.In(zone).Zone()
		if i > 0 && offset == last {
			break
		}
		last = offset
		t := local.Add(-time.Duration(offset) * time.Second).In(zone)
		if _, shown := t.Zone(); shown == offset {
			moment = t
			found++
		}
	}
	return moment, found == 1
}
