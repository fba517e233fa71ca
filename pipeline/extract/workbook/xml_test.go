package workbook

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// tokens is a text as tags and their content, with what ended it.
func tokens(x *xmlReader) (string, error) {
	var out []byte
	for {
		tok, err := x.next()
		if err != nil || tok.kind == atEnd {
			return string(out), err
		}
		if tok.kind != textPiece {
			out = append(append(append(out, '<'), tok.name...), '>')
		} else if out, err = appendText(out, tok); err != nil {
			return string(out), err
		}
	}
}

// tiny reads with a buffer that most texts do not fit into, so that each piece ends somewhere else.
func tiny(r io.Reader) *xmlReader {
	x := newXMLReader(r)
	x.buf = x.buf[:48]
	return x
}

func TestXMLInPieces(t *testing.T) {
	long := strings.Repeat("0123456789", 20)
	for _, c := range []struct{ in, want string }{
		{"<a>" + long + "</a>", "<a>" + long + "<a>"},
		{"<a>" + strings.Repeat("&amp;\r\n\r", 50) + "</a>", "<a>" + strings.Repeat("&\n\n", 50) + "<a>"},
		{"<a><![CDATA[" + strings.Repeat("&amp;\r\n", 50) + strings.Repeat("\r", 100) + "]]></a>", "<a>" + strings.Repeat("&amp;\n", 50) + strings.Repeat("\n", 100) + "<a>"},
		{"<a><![CDATA[" + long + "]] ]]]></a>", "<a>" + long + "]] ]<a>"},
		{"<a><!-- " + long + " > --><?pi " + long + "?>x</a>", "<a>x<a>"},
		{"<?xml version='1.0' encoding='US-ASCII'?><a/>", "<a>"},
		{"<p:a q:b='x>y' c=\"'>\"/>", "<a>"},
		{"\xef\xbb\xbf<a>&#65;&#x42;&#x1f600;&lt;&gt;&quot;&apos;</a>", "<a>AB😀<>\"'<a>"},
	} {
		for name, x := range map[string]*xmlReader{"whole": newXMLReader(strings.NewReader(c.in)), "tiny": tiny(strings.NewReader(c.in)),
			"by byte": newXMLReader(iotest.OneByteReader(strings.NewReader(c.in)))} {
			got, err := tokens(x)
			if err != nil {
				t.Errorf("%s: %q: %v", name, c.in, err)
			}
			diff(t, name, c.want, got)
		}
	}
}

func TestMalformedXML(t *testing.T) {
	for _, c := range []struct {
		in   string
		want error
	}{
		{"<", errTruncated}, {"<a", errTruncated}, {"<a>", errTruncated}, {"<a><!-- ", errTruncated}, {"<a><![CDATA[x", errTruncated}, {"<?xml", errTruncated},
		{"</a>", errMarkup}, {"<a><></a>", errMarkup}, {"< a/>", errMarkup}, {"<a <b/>", errMarkup}, {"<p:/>", errMarkup},
		{"<!DOCTYPE a>", errDoctype}, {"<!ENTITY a 'b'>", errDoctype},
		{"<a>&b;</a>", errEntity}, {"<a>&amp</a>", errEntity}, {"<a>&#;</a>", errEntity}, {"<a>&#x;</a>", errEntity}, {"<a>&#xD800;</a>", errEntity},
		{"<a>&#99999999;</a>", errEntity}, {"<a>&#1a;</a>", errEntity},
		{"\xff\xfe<\x00", errEncoding}, {"<\x00a\x00", errEncoding}, {"<?xml version='1.0' encoding='windows-1252'?><a/>", errEncoding},
		{"<a b='" + strings.Repeat("x", bufferSize) + "'/>", errTagLength},
	} {
		if _, err := tokens(newXMLReader(strings.NewReader(c.in))); !errors.Is(err, c.want) {
			t.Errorf("%.40q: %v, want %v", c.in, err, c.want)
		}
	}
	broken := errors.New("broken")
	if _, err := tokens(newXMLReader(io.MultiReader(strings.NewReader("<a>"), iotest.ErrReader(broken)))); !errors.Is(err, broken) {
		t.Errorf("an error of the reader: %v", err)
	}
}

// FuzzXML: the tokenizer never panics, and returns the same text whatever the pieces in which it is read.
func FuzzXML(f *testing.F) {
	f.Add([]byte(`<?xml version="1.0"?><a b="x>y"><!-- c --><b/>t&amp;t<![CDATA[]]]]></a>`))
	f.Add([]byte("\xef\xbb\xbf<a>\r\n\r</a>"))
	f.Fuzz(func(t *testing.T, text []byte) {
		one, err1 := tokens(newXMLReader(bytes.NewReader(text)))
		two, err2 := tokens(tiny(bytes.NewReader(text)))
		if errors.Is(err2, errTagLength) || errors.Is(err1, errEncoding) {
			return // longer than the tiny buffer; a declaration that does not fit into it
		}
		if (err1 == nil) != (err2 == nil) || err1 == nil && one != two {
			t.Errorf("in pieces: %v, %v", err1, err2)
		}
	})
}
