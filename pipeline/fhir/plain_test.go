package fhir

import "testing"

// TestPlainNarrative: nearly all of the narrative of the examples is read the short way, and as the XML parser reads it.
func TestPlainNarrative(t *testing.T) {
	all, short := 0, 0
	eachExample(t, func(name string, data []byte) {
		n, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		div := n.At("text", "div").Str()
		if div == "" {
			return
		}
		all++
		allowed, content := checkNarrative(div)
		plain, some := plainNarrative(div)
		if plain {
			short++
			if !allowed || content != some {
				t.Errorf("%s: content %v, by XML allowed %v and content %v", name, some, allowed, content)
			}
		}
	})
	t.Logf("%d of %d the short way", short, all)
	if short < all*9/10 {
		t.Errorf("%d of %d the short way", short, all)
	}
}

// FuzzPlainNarrative: what is read the short way, an XML parser reads alike.
func FuzzPlainNarrative(f *testing.F) {
	for _, s := range []string{``, `x`, `<b>`, `</div>`, `<img src="#a"/>`, `<p class='a' id="b">&nbsp;&amp;</p>`, `<a href="javascript:x">y</a>`, "\u00a0\u2003", `]]>`, `<!-- x -->`, `<br/ >`, `<p  >x</p >`,
		`&#32;`, `<div xmlns="http://www.w3.org/1999/xhtml">y</div>`, `<div xmlns="">y</div>`, `<script/>`, `<p a="1">`, `<p id=a>`, `<p id="a"class="b">`, "\x01", "\xff", `<a href="a&b">`, `<a title="]]>">x</a>`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, inner string) {
		for _, div := range []string{inner, `<div xmlns="http://www.w3.org/1999/xhtml">` + inner + `</div>`} {
			if plain, content := plainNarrative(div); plain {
				if allowed, some := checkNarrative(div); !allowed || some != content {
					t.Errorf("%q: content %v, by XML allowed %v and content %v", div, content, allowed, some)
				}
			}
		}
	})
}
