package plan

import (
	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/extract/sqldump"
	"github.com/chartlift/chartlift/pipeline/internal/document"
	"github.com/chartlift/chartlift/pipeline/mapping"
)

// Schemas lists the kinds of files that [Schema] knows.
func Schemas() []string { return []string{"mapping", "pack", "fragment", "cases", "plan"} }

// Schema is the JSON Schema of a kind of file that people write, for their editors; false if there is no such kind.
func Schema(kind string) (mapping.Schema, bool) {
	switch kind {
	case "mapping":
		return mapping.MappingSchema(), true
	case "pack":
		return mapping.PackSchema(), true
	case "fragment":
		return mapping.FragmentSchema(), true
	case "cases":
		return mapping.CasesSchema(), true
	case "plan":
		return planSchema(), true
	}
	return nil, false
}

// everyKey is a plan with every object that a plan can hold. The reader is asked which keys each has, so that the schema
// never knows others than the reader does.
const everyKey = `
sources:
  csv: {csv: x, fixed: {c: {}}, tables: {t: {}}}
  workbook: {workbook: x, sheets: {s: {end: {}, unpivot: {}}}}
  dump: {dump: x}
  postgres: {postgres: {}}
  mysql: {mysql: {}}
  sqlserver: {sqlserver: {}}
  oracle: {oracle: {}}
  sqlite: {sqlite: {}}
phi: {}
targets: {clinical: {auth: {}}}
waves: [{}]
`

// planKeys asks the reader which keys each object of a plan has, by the reader's own words for the object.
func planKeys() map[string][]string {
	root, _ := document.Parse("", []byte(everyKey)) // a constant: it is YAML
	known := map[string][]string{}
	r := &reader{plan: &Plan{nodes: map[string]*yaml.Node{}, Unused: map[string]string{}}, asked: func(what string, keys []string) { known[what] = keys }}
	if root != nil {
		r.root(root)
	}
	return known
}

// planSchema is the schema of a plan. What the reader takes and is not described here may be anything.
func planSchema() mapping.Schema {
	type object = mapping.Schema
	known := planKeys()
	keys := func(what string, described object) object {
		all := object{}
		for _, name := range known[what] {
			all[name] = object{}
			if s, ok := described[name]; ok {
				all[name] = s
			}
		}
		return object{"type": "object", "properties": all, "additionalProperties": false}
	}
	named := func(s object) object { return object{"type": "object", "additionalProperties": s} }
	text := object{"type": "string"}
	texts := object{"anyOf": []any{text, object{"type": "array", "items": object{"type": []string{"string", "null"}}}}}
	number := object{"anyOf": []any{object{"type": "integer", "minimum": 1}, object{"type": "string", "pattern": `\$\{`}}}
	words := func(words ...string) object { return object{"enum": words} }
	help := func(s object, text string) object {
		out := object{"description": text}
		for k, v := range s {
			out[k] = v
		}
		return out
	}

	var kinds []any
	for _, kind := range sourceKinds {
		kinds = append(kinds, object{"if": object{"required": []string{kind}}, "then": keys("source "+kind+" ("+kind+")", object{
			"csv": texts, "workbook": texts, "dump": texts, "encoding": text, "timezone": text, "blank": texts, "columns": texts,
			"dialect": words(sqldump.Dialects()...), "extra": words("blank"), "missing": words("blank"), "skip": number,
			"fixed":  named(keys("column c", nil)),
			"sheets": named(keys("sheet s", object{"columns": texts, "ignore": texts, "fill down": texts, "unpivot": keys("unpivot", nil)})),
		})})
	}
	target := keys("target clinical", object{
		"fhir": text, "sandbox": text, "bundle": number, "parallel": number, "ids": words("server"), "auth": keys("auth", object{"bearer-env": text, "bearer-file": text}),
	})
	var gates []any
	for _, name := range gateNames {
		gates = append(gates, name)
	}
	plan := keys("a plan", object{
		"migration": help(object{"type": "string", "pattern": migrationForm.String()}, "Goes into every id: never change it once something is loaded."),
		"sources": object{"type": "object", "minProperties": 1, "description": "Where the records are, by a name of yours.",
			"additionalProperties": object{"type": "object", "allOf": kinds, "anyOf": requiredOne(sourceKinds)}},
		"mappings": help(texts, "Packs inside the program by name, folders of your own with a slash."),
		"guides":   help(texts, "FHIR packages to validate against."),
		"phi": keys("phi", object{
			"policy":   help(text, "identified, limited-data-set, safe-harbor-elements, or a file."),
			"delivery": help(words(deliveries...), "How protected information travels; there is no default."),
			"keys":     text, "as-of": text,
		}),
		"targets":       keys("targets", object{"clinical": target, "identity": target}),
		"waves":         object{"type": "array", "items": keys("a wave", object{"name": text, "patients": text})},
		"gates":         object{"type": "object", "propertyNames": object{"enum": gates}, "additionalProperties": object{"type": []string{"string", "number"}}},
		"ledger":        help(text, "sqlite:PATH"),
		"stage":         text,
		"live":          text,
		"vanished":      help(words(VanishedReport, VanishedDelete, VanishedMark), "What becomes of resources in the target that the source no longer has."),
		"unused-tables": help(named(text), "Tables, or patterns such as log_*, that no mapping reads, each with a reason."),
		"constants":     help(object{"type": "object"}, "Values in place of the packs' own constants."),
	})
	plan["$schema"], plan["$id"], plan["title"] = mapping.SchemaDraft, mapping.SchemaBase+"plan.json", "A plan of Chartlift, migration.yaml"
	plan["required"] = []string{"migration", "sources", "mappings", "phi"}
	return plan
}

// requiredOne asks for at least one of some keys.
func requiredOne(names []string) (out []any) {
	for _, name := range names {
		out = append(out, mapping.Schema{"required": []string{name}})
	}
	return out
}
