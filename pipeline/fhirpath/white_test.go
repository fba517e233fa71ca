package fhirpath

import (
	"strings"
	"testing"
)

func TestWhite(t *testing.T) {
	for _, r := range " \t\r\n\v\f\u00a0\u2007\u202f\u3000\u200b\ufeff" {
		if !White(r) {
			t.Errorf("%U shows something", r)
		}
	}
	for _, r := range "a0-_.\u00ad\u200d\u0301\x00\x1a" { // a soft hyphen and a joiner belong to their word
		if White(r) {
			t.Errorf("%U shows nothing", r)
		}
	}
	if got := strings.TrimFunc("\u00a0 F\u3000", White); got != "F" {
		t.Errorf("%q", got)
	}
}
