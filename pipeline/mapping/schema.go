package mapping

import (
	"path"
	"slices"
	"strconv"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// Schema is a JSON Schema (draft 2020-12) as a tree for encoding/json.
type Schema = map[string]any

// SchemaDraft is the dialect of every schema of this program, and SchemaBase where their names begin.
const (
	SchemaDraft = "https://json-schema.org/draft/2020-12/schema"
	SchemaBase  = "https://github.com/chartlift/chartlift/schema/"
)

// Schemas for editors: of mapping files, cases, pack.yaml and fragments. They are made of the tables that the readers read
// by and of the definitions of R4, so that an editor completes what the program takes. An editor sees one file: what
// depends on tables, other mappings or concept maps is for `check`.

// MappingSchema is the schema of a mapping file: its keys, and for each type that `to:` can name the shape of the
// resource.
func MappingSchema() Schema {
	s := schemaOf(mappingKeys(), "mapping", "A mapping of Chartlift")
	properties(s)["include"] = described(ref("include"), "Fragments whose keys stand here as if written out; an own key wins.")
	s["if"] = Schema{"not": Schema{"required": []string{"include"}}}
	s["then"] = Schema{"required": []string{"from", "to", "resource"}}
	defs := s["$defs"].(Schema)
	defs["type"] = Schema{"enum": fhir.Resources()}
	var shapes []any
	for _, name := range fhir.Resources() {
		shapes = append(shapes, Schema{
			"if":   Schema{"properties": Schema{"to": Schema{"const": name}}, "required": []string{"to"}},
			"then": Schema{"properties": Schema{"resource": ref(name)}},
		})
	}
	s["allOf"] = shapes
	addTypes(defs, fhir.Resources()...)
	return s
}

// PackSchema is the schema of a pack.yaml.
func PackSchema() Schema {
	s := schemaOf(settingsKeys(), "pack", "What the mappings of a pack have in common")
	defs := s["$defs"].(Schema)
	defs["defaults"] = objectOf(defaultKeys())
	defs["profilesByType"] = Schema{"type": "object", "propertyNames": Schema{"enum": fhir.Resources()}, "additionalProperties": ref("texts")}
	defs["meta"] = ref("Meta")
	addTypes(defs, "Meta")
	return s
}

// FragmentSchema is the schema of a fragment.
func FragmentSchema() Schema {
	s := schemaOf(fragmentKeys(), "fragment", "A fragment that mappings of a pack include")
	s["required"] = []string{"gives"}
	return s
}

// CasesSchema is the schema of a file of cases.
func CasesSchema() Schema {
	s := Schema{"$schema": SchemaDraft, "$id": SchemaBase + "cases.json", "title": "Cases of a mapping of Chartlift", "type": "array", "items": ref("case")}
	one := Schema{}
	for _, name := range caseKeys {
		one[name] = caseForms[name]
	}
	row := Schema{"type": "object", "additionalProperties": ref("cell")}
	s["$defs"] = Schema{
		"case": Schema{"type": "object", "properties": one, "additionalProperties": false, "required": []string{"name"}, "allOf": []any{
			Schema{"oneOf": []any{required("record"), required("rows")}},
			Schema{"oneOf": []any{required("want"), required("refused"), required("skipped")}},
		}},
		"cell": Schema{"type": []string{"string", "number", "boolean", "null"}},
		"row":  row,
		"rows": Schema{"type": "array", "items": ref("row")},
		"text": forms["text"],
	}
	return s
}

// caseForms says what each of caseKeys takes.
var caseForms = map[string]Schema{
	"name":      described(ref("text"), "What the case shows."),
	"record":    described(ref("row"), "The record: columns with their cells; those not named are blank."),
	"rows":      described(ref("rows"), "The records of a group."),
	"tables":    {"type": "object", "additionalProperties": ref("rows"), "description": "Rows of the tables that the mapping reads beside its own."},
	"want":      {"type": "array", "items": Schema{"type": "object"}, "description": "The resources wanted, without id, meta and resourceType."},
	"refused":   described(ref("text"), "The rule of `refuse:`, or the code, by which the record is refused."),
	"skipped":   described(ref("text"), "The rule of `skip:` by which the record is left out."),
	"findings":  {"type": "array", "items": ref("text"), "description": "The findings wanted."},
	"with meta": {"enum": []any{true, false}, "description": "Whether meta is compared too."},
	"zone":      described(ref("text"), "The zone of the source, such as America/Chicago."),
}

// forms are the definitions for the values of keys, by [keySpec.form].
var forms = map[string]Schema{
	"text":     {"type": []string{"string", "number", "boolean"}},
	"texts":    {"anyOf": []any{ref("text"), Schema{"type": "array", "items": ref("text"), "uniqueItems": true}}},
	"formula":  {"type": "string", "pattern": "^=([^=]|$)"},
	"rules":    included(Schema{"type": "object", "additionalProperties": ref("formula")}),
	"reasons":  included(Schema{"type": "object", "additionalProperties": ref("text")}),
	"item":     described(ref("formula"), "In an entry of a list: one entry for each item."),
	"anything": {},
	"type":     {"type": "string"},
	"holes": {"anyOf": []any{
		Schema{"type": "array", "items": Schema{"type": "string", "pattern": nameForm.String()}, "uniqueItems": true},
		Schema{"type": "object", "propertyNames": Schema{"pattern": nameForm.String()}},
	}},
	"constants":  {"type": "object", "propertyNames": Schema{"pattern": nameForm.String()}, "additionalProperties": ref("texts")},
	"duplicates": {"enum": duplicatesWords},
	"references": {"anyOf": []any{Schema{"enum": referencesWords}, Schema{"type": "object", "additionalProperties": Schema{"enum": referencesWords}}}},
	"patient":    {"anyOf": []any{ref("formula"), Schema{"enum": []string{"self", "none"}}}},
	"resource":   {"type": "object"},
	"with":       included(Schema{"type": "object", "additionalProperties": objectOf(withKeys())}),
	"include": {"anyOf": []any{
		Schema{"type": "string"},
		Schema{"type": "array", "items": ref("include")},
		Schema{"type": "object", "additionalProperties": Schema{"type": []string{"object", "null"}}},
	}},
}

// included lets an object of named values include fragments.
func included(s Schema) Schema {
	s["properties"] = Schema{"include": ref("include")}
	return s
}

func ref(name string) Schema { return Schema{"$ref": "#/$defs/" + name} }

func required(name string) Schema { return Schema{"required": []string{name}} }

func described(s Schema, text string) Schema {
	s["description"] = text
	return s
}

func properties(s Schema) Schema { return s["properties"].(Schema) }

// objectOf is the schema of an object with these keys and no others.
func objectOf[T any](keys []keySpec[T]) Schema {
	all := Schema{}
	for _, k := range keys {
		all[k.name] = described(ref(k.form), k.help)
	}
	return Schema{"type": "object", "properties": all, "additionalProperties": false}
}

// schemaOf is the schema of a file with these keys.
func schemaOf[T any](keys []keySpec[T], name, title string) Schema {
	s := objectOf(keys)
	s["$schema"], s["$id"], s["title"] = SchemaDraft, SchemaBase+name+".json", title
	defs := Schema{}
	for name, form := range forms {
		defs[name] = form
	}
	s["$defs"] = defs
	return s
}

// addTypes adds definitions for types of R4, as templates write them, and for all types that occur in them.
func addTypes(defs Schema, names ...string) {
	defs["each"] = Schema{"type": "object", "properties": Schema{"forEach": ref("formula"), "value": ref("text")}, "required": []string{"forEach", "value"}, "additionalProperties": false}
	defs["included"] = Schema{"type": "object", "properties": Schema{"include": ref("include")}, "required": []string{"include"}, "additionalProperties": false}
	defs["Resource"] = Schema{"type": "object", "properties": Schema{"resourceType": Schema{"enum": fhir.Resources()}}, "required": []string{"resourceType", "id"}}
	t := &schemaTypes{defs: defs, open: append([]string{"Element"}, names...)}
	for len(t.open) > 0 {
		name := t.open[0]
		t.open = t.open[1:]
		if typ := fhir.Lookup(name); defs[name] == nil && typ != nil {
			defs[name] = t.object(typ)
		}
	}
}

// schemaTypes makes definitions of types; open are those that are still to be made.
type schemaTypes struct {
	defs Schema
	open []string
}

// written tells elements of a type that Chartlift writes, and templates may not.
func written(typ *fhir.Type, name string) bool {
	switch {
	case typ.Kind == fhir.KindResource:
		return name == "id"
	case typ.Name == "Meta":
		return slices.Contains([]string{"profile", "tag", "versionId", "lastUpdated"}, name)
	}
	return false
}

// object is the schema of an object of a type.
func (t *schemaTypes) object(typ *fhir.Type) Schema {
	all := Schema{"include": ref("include")}
	var must []any
	for _, e := range typ.Elements {
		if written(typ, e.Name) {
			continue
		}
		var names []any
		for _, et := range e.Types {
			name := e.JSONName(et)
			all[name] = t.element(e, et)
			names = append(names, required(name))
			if et.Kind == fhir.KindPrimitive && et.Name != "xhtml" && !e.Repeats() {
				all["_"+name] = ref("Element")
				names = append(names, required("_"+name))
			}
		}
		if e.Min > 0 && len(names) > 0 {
			must = append(must, Schema{"anyOf": names})
		}
	}
	if typ.Kind != fhir.KindResource {
		all["forEach"] = ref("item")
	}
	s := Schema{"type": "object", "properties": all, "additionalProperties": false}
	if len(must) > 0 {
		s["if"], s["then"] = Schema{"not": required("include")}, Schema{"allOf": must}
	}
	return s
}

// element is the schema of an element's value: a formula, a literal or an object, and where it repeats a list of them.
func (t *schemaTypes) element(e *fhir.Element, typ *fhir.Type) Schema {
	value := typ.Name
	if codes := requiredCodes(e); codes != nil && typ.Kind == fhir.KindPrimitive {
		value = path.Base(codes.URL())
		t.defs[value] = Schema{"enum": codes.Codes()}
	} else if typ.Kind == fhir.KindPrimitive {
		t.defs[value] = literalSchema(typ)
	} else {
		t.open = append(t.open, value)
	}
	cardinality := strconv.Itoa(e.Min) + "..1"
	values := []any{ref("formula"), ref(value)}
	if typ.Kind == fhir.KindPrimitive || typ.Name == "Resource" {
		values = append(values, ref("included"))
	}
	one := value + "-1"
	t.defs[one] = Schema{"anyOf": values}
	if !e.Repeats() {
		return described(ref(one), typ.Name+" "+cardinality)
	}
	cardinality = strconv.Itoa(e.Min) + "..*"
	entry := ref(one)
	if typ.Kind == fhir.KindPrimitive {
		entry = Schema{"anyOf": []any{ref(one), ref("each")}}
	}
	many := value + "-n"
	t.defs[many] = Schema{"anyOf": []any{ref(one), Schema{"type": "array", "minItems": 1, "items": entry}}}
	return described(ref(many), typ.Name+" "+cardinality)
}

// literalSchema is the schema of a literal of a primitive type. Editors take 007 for a number and no for a boolean, so
// that only booleans and numbers are narrowed down.
func literalSchema(typ *fhir.Type) Schema {
	switch typ.Name {
	case "boolean":
		return Schema{"type": "boolean"}
	case "integer", "positiveInt", "unsignedInt":
		return Schema{"type": "integer"}
	case "decimal":
		return Schema{"type": "number"}
	}
	return Schema{"type": []string{"string", "number", "boolean"}, "not": ref("formula")}
}
