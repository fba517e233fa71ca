package main

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// The parts of HL7's resources that the table is made from.

type structureDefinition struct {
	ID             string `json:"id"`
	URL            string `json:"url"`
	Kind           string `json:"kind"`
	Abstract       bool   `json:"abstract"`
	BaseDefinition string `json:"baseDefinition"`
	Snapshot       struct {
		Element []elementDefinition `json:"element"`
	} `json:"snapshot"`
}

type elementDefinition struct {
	ID               string    `json:"id"`
	Path             string    `json:"path"`
	Min              int       `json:"min"`
	Max              string    `json:"max"`
	ContentReference string    `json:"contentReference"`
	Type             []typeRef `json:"type"`
	Binding          *binding  `json:"binding"`
	Constraint       []rule    `json:"constraint"`
	IsModifier       bool      `json:"isModifier"`
	IsSummary        bool      `json:"isSummary"`
}

type typeRef struct {
	Code          string      `json:"code"`
	Profile       []string    `json:"profile"`
	TargetProfile []string    `json:"targetProfile"`
	Extension     []extension `json:"extension"`
}

type extension struct {
	URL         string `json:"url"`
	ValueURL    string `json:"valueUrl"`
	ValueString string `json:"valueString"`
}

type binding struct {
	Strength string `json:"strength"`
	ValueSet string `json:"valueSet"`
}

type rule struct {
	Key        string `json:"key"`
	Severity   string `json:"severity"`
	Human      string `json:"human"`
	Expression string `json:"expression"`
}

type valueSet struct {
	URL     string `json:"url"`
	Compose struct {
		Include []include `json:"include"`
		Exclude []include `json:"exclude"`
	} `json:"compose"`
	Expansion *struct {
		Parameter []struct {
			Name string `json:"name"`
		} `json:"parameter"`
		Contains []contains `json:"contains"`
	} `json:"expansion"`
}

type include struct {
	System  string `json:"system"`
	Concept []struct {
		Code string `json:"code"`
	} `json:"concept"`
	Filter   []json.RawMessage `json:"filter"`
	ValueSet []string          `json:"valueSet"`
}

type contains struct {
	System   string     `json:"system"`
	Code     string     `json:"code"`
	Abstract bool       `json:"abstract"`
	Contains []contains `json:"contains"`
}

type codeSystem struct {
	URL     string    `json:"url"`
	Content string    `json:"content"`
	Concept []concept `json:"concept"`
}

type concept struct {
	Code     string    `json:"code"`
	Concept  []concept `json:"concept"`
	Property []struct {
		Code         string `json:"code"`
		ValueBoolean bool   `json:"valueBoolean"`
	} `json:"property"`
}

type searchParameter struct {
	Code       string   `json:"code"`
	Base       []string `json:"base"`
	Expression string   `json:"expression"`
}

type compartmentDefinition struct {
	Code     string `json:"code"`
	Resource []struct {
		Code  string   `json:"code"`
		Param []string `json:"param"`
	} `json:"resource"`
}

// bundles is everything the table is made from, in the order of the files.
type bundles struct {
	structures  []structureDefinition
	expansions  map[string]valueSet
	valueSets   map[string]valueSet
	codeSystems map[string]codeSystem
	parameters  []searchParameter
	patient     compartmentDefinition
}

func readBundles(dir string) (*bundles, error) {
	b := &bundles{
		expansions:  map[string]valueSet{},
		valueSets:   map[string]valueSet{},
		codeSystems: map[string]codeSystem{},
	}
	for _, name := range []string{"profiles-types", "profiles-resources"} {
		err := eachResource(dir, name, func(typ string, raw json.RawMessage) error {
			if typ != "StructureDefinition" {
				return nil
			}
			var s structureDefinition
			if err := json.Unmarshal(raw, &s); err != nil {
				return err
			}
			b.structures = append(b.structures, s)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"valuesets", "v3-codesystems", "v2-tables", "expansions"} {
		err := eachResource(dir, name, func(typ string, raw json.RawMessage) error {
			switch typ {
			case "ValueSet":
				var v valueSet
				if err := json.Unmarshal(raw, &v); err != nil {
					return err
				}
				if name == "expansions" {
					b.expansions[v.URL] = v
				} else {
					b.valueSets[v.URL] = v
				}
			case "CodeSystem":
				var c codeSystem
				if err := json.Unmarshal(raw, &c); err != nil {
					return err
				}
				b.codeSystems[c.URL] = c
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	err := eachResource(dir, "search-parameters", func(typ string, raw json.RawMessage) error {
		var p searchParameter
		if err := json.Unmarshal(raw, &p); err != nil {
			return err
		}
		b.parameters = append(b.parameters, p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	raw, err := readFile(dir, "compartmentdefinition-patient")
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &b.patient); err != nil {
		return nil, fmt.Errorf("compartmentdefinition-patient: %w", err)
	}
	if b.patient.Code != "Patient" {
		return nil, fmt.Errorf("compartmentdefinition-patient: is of %q", b.patient.Code)
	}
	return b, nil
}

// readFile reads one gzipped JSON file of the folder.
func readFile(dir, name string) (json.RawMessage, error) {
	f, err := os.Open(filepath.Join(dir, name+".json.gz"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var raw json.RawMessage
	if err := json.NewDecoder(zip).Decode(&raw); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return raw, nil
}

// eachResource calls use for each resource of a bundle, in order.
func eachResource(dir, name string, use func(typ string, raw json.RawMessage) error) error {
	raw, err := readFile(dir, name)
	if err != nil {
		return err
	}
	var bundle struct {
		Entry []struct {
			Resource json.RawMessage `json:"resource"`
		} `json:"entry"`
	}
	if err := json.Unmarshal(raw, &bundle); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(bundle.Entry) == 0 {
		return fmt.Errorf("%s: no entries", name)
	}
	for i, entry := range bundle.Entry {
		var head struct {
			ResourceType string `json:"resourceType"`
		}
		if err := json.Unmarshal(entry.Resource, &head); err != nil {
			return fmt.Errorf("%s: entry %d: %w", name, i, err)
		}
		if err := use(head.ResourceType, entry.Resource); err != nil {
			return fmt.Errorf("%s: entry %d: %w", name, i, err)
		}
	}
	return nil
}
