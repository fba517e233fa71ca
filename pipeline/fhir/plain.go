package fhir

import (
	"encoding/xml"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// htmlNames are the elements and attributes that narrative may have, for looking up.
var htmlNames = sync.OnceValue(func() (names struct{ elements, attributes map[string]bool }) {
	names.elements, names.attributes = map[string]bool{}, map[string]bool{}
	for _, name := range htmlElements {
		names.elements[name] = true
	}
	for _, name := range htmlAttributes {
		names.attributes[name] = true
	}
	return names
})

// plainNarrative reads narrative as it nearly always is: allowed elements and attributes, text, entities by name. For
// that it returns whether there is content; whatever is otherwise is not plain, and left to [checkNarrative].
func plainNarrative(div string) (plain, content bool) {
	s := narrativeScanner{text: div}
	for s.at < len(div) {
		if div[s.at] != '<' {
			some, ok := s.run()
			if !ok || some && len(s.open) == 0 {
				return false, false
			}
			content = content || some
			continue
		}
		if s.done && len(s.open) == 0 {
			return false, false
		}
		name, ok := s.tag()
		if !ok {
			return false, false
		}
		content = content || name == "img"
	}
	return s.done && len(s.open) == 0, content
}

// narrativeScanner goes through narrative.
type narrativeScanner struct {
	text string
	at   int
	open []string // elements that are open
	done bool     // the div was met
}

// run passes text up to the next tag, and tells whether there is anything but white space in it.
func (s *narrativeScanner) run() (some, ok bool) {
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '<':
			return some, true
		case c == '&':
			end := strings.IndexByte(s.text[s.at:min(len(s.text), s.at+12)], ';')
			if end < 0 {
				return false, false
			}
			switch name := s.text[s.at+1 : s.at+end]; name {
			case "amp", "lt", "gt", "quot", "apos":
				some = true
			default:
				value := xml.HTMLEntity[name]
				if value == "" {
					return false, false
				}
				some = some || strings.TrimSpace(value) != ""
			}
			s.at += end + 1
		case c == ']' && strings.HasPrefix(s.text[s.at:], "]]>") || c < ' ' && c != '\t' && c != '\n' && c != '\r':
			return false, false
		case c < utf8.RuneSelf:
			some = some || c > ' '
			s.at++
		default:
			r, size := utf8.DecodeRuneInString(s.text[s.at:])
			if r == utf8.RuneError || r == 0xFFFE || r == 0xFFFF {
				return false, false
			}
			some = some || !unicode.IsSpace(r)
			s.at += size
		}
	}
	return some, true
}

// tag reads a tag; name is that of an element that begins.
func (s *narrativeScanner) tag() (name string, ok bool) {
	s.at++
	if s.at < len(s.text) && s.text[s.at] == '/' {
		s.at++
		name = s.word()
		last := len(s.open) - 1
		if last < 0 || s.open[last] != name || s.at >= len(s.text) || s.text[s.at] != '>' {
			return "", false
		}
		s.at++
		s.open = s.open[:last]
		return "", true
	}
	name = s.word()
	first := len(s.open) == 0
	if !htmlNames().elements[name] || first && name != "div" || len(s.open) >= MaxDepth {
		return "", false
	}
	spaced := false // the namespace of the outermost element is given
	for {
		blank := s.blank()
		if s.at >= len(s.text) {
			return "", false
		}
		if c := s.text[s.at]; c == '>' || c == '/' {
			if c == '/' {
				s.at++
				if s.at >= len(s.text) || s.text[s.at] != '>' {
					return "", false
				}
			} else {
				s.open = append(s.open, name)
			}
			s.at++
			s.done = true
			return name, !first || spaced
		}
		attribute, value, ok := s.attribute()
		if !ok || !blank {
			return "", false
		}
		if attribute == "xmlns" {
			if value != xhtmlSpace {
				return "", false
			}
			spaced = true
		}
	}
}

func (s *narrativeScanner) word() string {
	start := s.at
	for s.at < len(s.text) && (s.text[s.at]|0x20 >= 'a' && s.text[s.at]|0x20 <= 'z' || isDigit(s.text[s.at])) {
		s.at++
	}
	return s.text[start:s.at]
}

func (s *narrativeScanner) blank() bool {
	start := s.at
	for s.at < len(s.text) && (s.text[s.at] == ' ' || s.text[s.at] == '\n' || s.text[s.at] == '\r' || s.text[s.at] == '\t') {
		s.at++
	}
	return s.at > start
}

// attribute reads one, whose value holds no entity and begins no script.
func (s *narrativeScanner) attribute() (name, value string, ok bool) {
	name = s.word()
	if !htmlNames().attributes[name] || s.at+1 >= len(s.text) || s.text[s.at] != '=' {
		return "", "", false
	}
	quote := s.text[s.at+1]
	if quote != '"' && quote != '\'' {
		return "", "", false
	}
	s.at += 2
	start := s.at
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == quote:
			value = s.text[start:s.at]
			s.at++
			first := strings.TrimSpace(value)
			return name, value, first == "" || first[0]|0x20 != 'j'
		case c == '<' || c == '&' || c < ' ' && c != '\t' && c != '\n' && c != '\r' || c >= utf8.RuneSelf:
			return "", "", false
		}
	}
	return "", "", false
}
