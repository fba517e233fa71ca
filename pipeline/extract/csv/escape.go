package csv

import (
	"github.com/chartlift/chartlift/pipeline/extract"
)

// parseEscaped is parseQuoted where an escape takes the meaning from a delimiter, a quote, a line end, a comment or
// another escape, inside quotes and outside. Both forms of a quote inside quotes are read, doubled and escaped. The
// cell `\N`, which stands for NULL in what MySQL, Hive and PostgreSQL write, stays as it is.
func (p *parser) parseEscaped(b []byte) (n int, rule string, column int) {
	for i := 0; ; i++ { // behind the delimiter
		quoted := p.quoting && i < len(b) && b[i] == p.quote
		if quoted {
			i++
		}
		from, w, blanks := i, i, true // start of the field, end of its text so far, whether that is blanks only
		for closed := false; !closed; {
			if i == len(b) {
				if quoted {
					return n, extract.RuleUnterminatedQuote, n
				}
				break
			}
			c := b[i]
			switch {
			case c == p.escape:
				size, rule := p.escaped(b[i+1:], i == from, quoted)
				if rule != "" {
					return n, rule, n
				}
				if size == 1 && b[i+1] == 'N' {
					w += copy(b[w:], b[i:i+2])
				} else {
					w += copy(b[w:], b[i+1:i+1+size])
				}
				i += 1 + size
				blanks = false
				continue
			case quoted && c == p.quote:
				if i+1 == len(b) || b[i+1] != p.quote {
					closed = true
					i++
					continue
				}
				i++ // one of the two is text
			case !quoted && c == p.delimiter:
				closed = true
				continue
			case p.quoting && c == p.quote:
				if rule := p.innerQuote(blanks); rule != "" {
					return n, rule, n
				}
			}
			blanks = blanks && (c == ' ' || c == '\t')
			b[w] = c
			w++
			i++
		}
		if i < len(b) && b[i] != p.delimiter {
			return n, extract.RuleTextAfterQuote, n
		}
		p.cell(n, b[from:w])
		n++
		if i == len(b) {
			return n, "", -1
		}
	}
}

// escaped checks what stands behind an escape, which is the first byte of its field or not, and returns how many bytes it
// covers.
func (p *parser) escaped(rest []byte, first, quoted bool) (size int, rule string) {
	if len(rest) == 0 {
		return 0, extract.RuleUnknownEscape
	}
	switch c := rest[0]; {
	case c == '\r' && p.eol == '\n' && len(rest) > 1 && rest[1] == '\n':
		return 2, ""
	case c == p.delimiter, c == p.escape, c == '\r', c == '\n', p.quoting && c == p.quote, p.comment != 0 && c == p.comment:
		return 1, ""
	case c == '0':
		return 0, extract.RuleNULByte // so MySQL writes it
	case c == 'N' && first && quoted && len(rest) > 1 && rest[1] == p.quote,
		c == 'N' && first && !quoted && (len(rest) == 1 || rest[1] == p.delimiter):
		return 1, ""
	}
	return 0, extract.RuleUnknownEscape
}
