package run

import (
	"crypto/sha256"

	"github.com/chartlift/chartlift/pipeline/plan"
)

// formDigest is what the state of a target holds of a resource: the digest of its content, and what was made of it. A
// resource that a run would send in another form than the one that is there (after a change of delivery, or of the
// policy that says what the clinical part shows) is not unchanged, although its content is. Whole resources have one
// form whatever the policy.
func formDigest(pins map[string]string, digest [16]byte) [16]byte {
	if pins["delivery"] == plan.DeliverIdentified {
		return digest
	}
	form := sha256.Sum256([]byte(pins["delivery"] + "\x00" + pins["policy"]))
	for i := range digest {
		digest[i] ^= form[i]
	}
	return digest
}
