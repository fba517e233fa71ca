package phi

import (
	"github.com/chartlift/chartlift/pipeline/extract"
)

// Resource is a whole resource on its way to [Sealer.Seal]: its canonical JSON, and where the policy cuts it.
type Resource struct {
	Type    string // "Patient"
	ID      string // the resource's id
	Patient string // the id of the patient whose record it is; "" for a shared resource

	// Whole is the canonical JSON (json.html#canonical) of the resource.
	Whole []byte

	// Cuts are the pieces that the policy does not keep as they are, in the order of Whole, none inside another. They
	// may be as small as single members: where nothing is left of an object or a list, Seal makes one cut of it.
	Cuts []Cut

	// Mark is the offset in Whole at which `"security":[…]` belongs into meta: after the `{` of meta, after one of its
	// commas, before its `}`, or, where meta has a security already, right after its `[`. -1: Seal looks for it.
	Mark int

	Place extract.Place // where the record stands in the source
	Row   []byte        // the source row as JSON; it travels in the PHI part. May be nil
}

// Cut is a piece of a whole resource that does not stay in the clinical part as it is.
type Cut struct {
	// Start and End are the half-open range in Whole of `"name":value`, without commas, or of one entry of a list of
	// objects. A list of primitives is cut as one member, never by entry, save for the entries of its `_name`.
	Start, End int

	// Path names the piece in the whole: name[0].family, _birthDate.extension[1]. The names are those of the JSON; one
	// that is not made of letters, digits and `_` stands as a JSON string in brackets: ["odd name"]. The string is kept.
	Path string

	Method Method

	// Required: the element must have a value, so something has to stand where it was. For an entry of a list this is
	// the list's matter: leave it false.
	Required bool

	// Replace is what stands in the place, in full (`"name":value`, or the entry). Nil: Seal makes it where Method or
	// Required ask for something.
	Replace []byte
}
