package phi

import "fmt"

const rowDomain = "chartlift row 1"

// SealRow appends a source row from which no resource was made, encrypted under the key of its patient, or of the shared
// scope if that is "". A key is made if there is none; it is durable after [Keyring.Sync]. aad says what the row is, and
// binds it to that. It may be called concurrently.
func (k *Keyring) SealRow(dst []byte, patient string, aad, row []byte) ([]byte, error) {
	key, err := k.key(patient, true)
	if err != nil {
		return dst, fmt.Errorf("seal a row: %w", err)
	}
	return key.aead.Seal(dst, nil, row, k.rowAAD(key, aad)), nil
}

// OpenRow opens what SealRow made with the same patient and aad. Errors: [ErrShredded], [ErrNoKey], [ErrNotAuthentic]. It
// may be called concurrently.
func (k *Keyring) OpenRow(patient string, aad, sealed []byte) (Secret, error) {
	key, err := k.patientKey(patient)
	if err != nil {
		return Secret{}, fmt.Errorf("open a row: %w", err)
	}
	row, err := key.aead.Open(nil, nil, sealed, k.rowAAD(key, aad))
	if err != nil {
		return Secret{}, fmt.Errorf("open a row: %w", ErrNotAuthentic)
	}
	return NewSecret(row), nil
}

func (k *Keyring) rowAAD(key *patientKey, aad []byte) []byte {
	b := appendField(appendField(nil, rowDomain), k.migration)
	return append(append(b, key.id[:]...), aad...)
}
