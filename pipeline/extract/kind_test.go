package extract

import (
	"testing"
	"time"
)

func TestDateTimesHaveOneForm(t *testing.T) {
	chicago, err := time.LoadLocation("America/Chicago")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in   string
		zone *time.Location
		want string
	}{
		{"2012-05-01 14:00:00", chicago, "2012-05-01T14:00:00"},
		{"2012-05-01T14:00:00.0000000", nil, "2012-05-01T14:00:00"},
		{"2012-05-01 14:00:00.120", nil, "2012-05-01T14:00:00.12"},
		{"2012-05-01 14:00:00+00", chicago, "2012-05-01T09:00:00-05:00"},
		{"2012-05-01 14:00:00.5+05:30", nil, "2012-05-01T08:30:00.5Z"},
		{"2012-01-01T14:00:00Z", nil, "2012-01-01T14:00:00Z"},
		{"2012-05-01 14:00:00.1234567 -05:00", nil, "2012-05-01T19:00:00.1234567Z"},
		{"1900-01-01 00:00:00-05:50:36", nil, "1900-01-01T05:50:36Z"},
		{"0000-00-00 00:00:00", nil, "0000-00-00T00:00:00"},
		{"2012-02-31 14:00:00+00", nil, "2012-02-31 14:00:00+00"},
		{"infinity", nil, "infinity"},
		{"2012-05-01", nil, "2012-05-01"},
		{"2012-05-01 14:00:00 PM", nil, "2012-05-01 14:00:00 PM"},
		{"2012-05-01 14:00:00+5", nil, "2012-05-01 14:00:00+5"},
		{"", nil, ""},
	} {
		if got := string(AppendDateTime(nil, []byte(c.in), c.zone)); got != c.want {
			t.Errorf("%q in %v: %q, want %q", c.in, c.zone, got, c.want)
		}
	}
}

func TestTimesHaveOneForm(t *testing.T) {
	for in, want := range map[string]string{
		"14:00:00": "14:00:00", "14:00:00.500": "14:00:00.5", "14:00:00.000000": "14:00:00", "-838:59:59": "-838:59:59", "": "",
	} {
		if got := string(AppendTime(nil, []byte(in))); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
