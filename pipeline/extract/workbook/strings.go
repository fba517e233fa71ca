package workbook

import (
	"bytes"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// sharedStrings are the texts that a workbook's cells refer to by number, one after the other in memory.
type sharedStrings struct {
	text []byte
	ends []int
	bad  map[int]string // rules of those that no cell may hold
}

// get is the text, or the rule by which a cell that refers to it is refused.
func (s *sharedStrings) get(i int) (text, rule string) {
	if i < 0 || i >= len(s.ends) {
		return "", RuleMalformedCell
	}
	if rule, ok := s.bad[i]; ok {
		return "", rule
	}
	start := 0
	if i > 0 {
		start = s.ends[i-1]
	}
	return view(s.text[start:s.ends[i]]), ""
}

// readStrings reads the part of shared strings.
func readStrings(r io.Reader, most int64, maxField int) (*sharedStrings, error) {
	s := &sharedStrings{bad: map[int]string{}}
	x := newXMLReader(r)
	for {
		t, err := x.next()
		if err != nil {
			return nil, err
		}
		if t.kind == atEnd {
			return s, nil
		}
		if t.kind != startTag || string(t.name) != "si" {
			continue
		}
		start := len(s.text)
		tooLong := false
		if !t.empty {
			if s.text, tooLong, err = x.richText(s.text, maxField); err != nil {
				return nil, err
			}
		}
		if rule := textRule(s.text[start:]); tooLong {
			s.bad[len(s.ends)] = extract.RuleFieldTooLong
		} else if rule != "" {
			s.bad[len(s.ends)] = rule
		}
		s.ends = append(s.ends, len(s.text))
		if int64(len(s.text)+8*len(s.ends)) > most {
			return nil, fmt.Errorf("they take more than the %d bytes that are allowed", most)
		}
	}
}

// textRule is the rule by which a text is refused, or "".
func textRule(text []byte) string {
	if bytes.IndexByte(text, 0) >= 0 {
		return extract.RuleNULByte
	}
	if !utf8.Valid(text) {
		return extract.RuleInvalidEncoding
	}
	return ""
}
