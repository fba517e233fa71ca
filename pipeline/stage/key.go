package stage

// ID is a derived resource id: 160 bits of an HMAC. The zero ID stands for "none", as for the patient of a shared
// resource. (mapping.ID converts to it.)
type ID [20]byte

// Ref is a reference from one resource to another of the migration.
type Ref struct {
	ID   ID
	Type uint16 // the type of the target, in the caller's numbering
	Drop bool   // whether a dangling reference may be dropped instead of refusing the resource
	Late bool   // whether its target may be loaded later: the resource is introduced without the reference
}

// Key goes into the index of a batch beside the sealed resource. Writer.Add copies the references.
type Key struct {
	ID, Patient ID
	Ordinal     int64 // the record's number in its table; for a group that of its first record
	Refs        []Ref
}

// Info describes a batch. Its ID is also its file's name and names its key: letters, digits, '.', '-' and '_'.
type Info struct {
	ID      string `json:"id"`
	Run     string `json:"run,omitempty"`
	Wave    string `json:"wave,omitempty"`
	Mapping string `json:"mapping,omitempty"`
	Type    string `json:"type,omitempty"`
	Table   string `json:"table,omitempty"`
	Level   int    `json:"level,omitempty"`
	Count   int    `json:"count,omitempty"`  // resources
	Bytes   int64  `json:"bytes,omitempty"`  // of the batch file
	SHA256  string `json:"sha256,omitempty"` // the sum of the batch file (see chunk file), hex
}
