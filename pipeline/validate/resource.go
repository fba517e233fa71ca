package validate

import "github.com/chartlift/chartlift/pipeline/fhir"

// resourceRules checks what only one type of resource has, beyond its definition.
func (c *Checker) resourceRules(name string, n *fhir.Node) {
	switch name {
	case "Observation":
		c.vitalSigns(n)
	case "CapabilityStatement":
		c.capabilities(n)
	case "SearchParameter":
		c.searchParameter(n, n.Get("derivedFrom"))
	}
}

// vitalSigns lists the profiles of R4 for vital signs by the LOINC code they are about; R4 asks for them wherever a
// vital sign is recorded (observation-vitalsigns.html).
var vitalSigns = map[string]string{
	"85353-1": "vitalspanel", "9279-1": "resprate", "8867-4": "heartrate", "2708-6": "oxygensat", "8310-5": "bodytemp",
	"8302-2": "bodyheight", "9843-4": "headcircum", "29463-7": "bodyweight", "39156-5": "bmi", "85354-9": "bp",
}

const loinc = "http://loinc.org"

// vitalSigns checks an Observation by the profile of the vital sign that its code names.
func (c *Checker) vitalSigns(n *fhir.Node) {
	codings := n.At("code", "coding")
	if codings == nil {
		return
	}
	for _, coding := range codings.Items {
		name, ok := vitalSigns[coding.Get("code").Str()]
		if !ok || coding.Get("system").Str() != loinc {
			continue
		}
		url := structurePrefix + name
		if c.claimed[url] {
			return
		}
		if p := c.v.profile(url); p != nil {
			c.conform(p, value{node: n, typ: fhir.Lookup("Observation")})
		}
		return
	}
}

// capabilities checks that search parameters which name a definition are of its type.
func (c *Checker) capabilities(n *fhir.Node) {
	base := len(c.path)
	eachItem(n.Get("rest"), func(i int, rest *fhir.Node) {
		eachItem(rest.Get("resource"), func(j int, resource *fhir.Node) {
			eachItem(resource.Get("searchParam"), func(k int, p *fhir.Node) {
				c.path = append(c.path[:base], step{name: "rest", index: i}, step{name: "resource", index: j}, step{name: "searchParam", index: k})
				c.searchParameter(p, p.Get("definition"))
			})
		})
	})
	c.path = c.path[:base]
}

func eachItem(list *fhir.Node, use func(i int, item *fhir.Node)) {
	if list == nil {
		return
	}
	for i, item := range list.Items {
		use(i, item)
	}
}

// searchParameter checks that something has the type of the search parameter it is defined by.
func (c *Checker) searchParameter(n, definition *fhir.Node) {
	url, typ := definition.Str(), n.Get("type").Str()
	if url == "" || typ == "" {
		return
	}
	for _, p := range c.v.packages {
		if found := p.Find("SearchParameter", url); found != nil {
			if want := found.Get("type").Str(); want != "" && want != typ {
				c.report(Issue{Severity: Error, Code: "structure", Rule: RuleDefinition, Message: "the search parameter that defines it is of another type"}, value{node: n})
			}
			return
		}
	}
}
