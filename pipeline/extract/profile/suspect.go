package profile

import "slices"

const (
	// shareOfDates is the share of dates from which a column counts as one of dates.
	shareOfDates = 0.5
	// wordsOfText and lengthOfText are the mean from which values count as free text: labels of codes are shorter.
	wordsOfText  = 8
	lengthOfText = 60
)

// suspect finds out what speaks for PHI in a column.
func (s *scanner) suspect(p *Profile, t *Table, out *Column, c *column) {
	if out.Filled == 0 {
		// An empty column shows nothing; its name is looked at all the same, for who writes the mapping.
		for _, category := range namedCategories(t.Name, out.Name) {
			out.PHI = append(out.PHI, Suspect{category, categories[category], ByName, 0})
		}
		return
	}
	add := func(category, evidence string, count int64) {
		if !slices.ContainsFunc(out.PHI, func(s Suspect) bool { return s.Category == category }) {
			out.PHI = append(out.PHI, Suspect{category, categories[category], evidence, count})
		}
	}
	for form, category := range [forms]string{formEmail: "F", formURL: "N", formIP: "O", formSSN: "G", formPhone: "D"} {
		if n := c.forms[form]; n > 0 {
			add(category, ByForm, n)
		}
	}
	if n := c.types[TypeDate] + c.types[TypeDateTime]; float64(n) >= shareOfDates*float64(c.filled) {
		add("C", ByForm, n)
	}
	for _, category := range namedCategories(t.Name, out.Name) {
		if category == "C" || !out.Is(shareOfDates, TypeDate, TypeDateTime, TypeBoolean) { // LAST_SEEN is not a name
			add(category, ByName, 0)
		}
	}
	if c.words >= wordsOfText*c.filled || c.characters >= lengthOfText*c.filled {
		add("*", ByLength, 0)
	}
	// A patient's key is a record number whatever it is called; so is what refers to it. Other keys are unique numbers.
	category := func(table string) string {
		if IsPatients(table) {
			return "H"
		}
		return "R"
	}
	for _, k := range t.Keys {
		if len(k.Columns) == 1 && k.Columns[0] == out.Name {
			add(category(t.Name), ByUnique, 0)
		}
	}
	for _, r := range p.References {
		if r.Source == t.Source && r.Table == t.Name && r.Column == out.Name && IsPatients(r.ParentTable) {
			add("H", ByRefers, 0)
		}
	}
	slices.SortFunc(out.PHI, func(a, b Suspect) int {
		return slices.Compare([]byte(a.Category), []byte(b.Category))
	})
}
