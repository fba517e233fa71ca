// Package phi separates protected health information (PHI) from what is clinical, and seals it.
//
// A [Policy] says for every element whether its value stays in the clinical part. A [Sealer] takes a whole resource as
// canonical JSON with the [Cut]s that the policy makes in it, and answers a [Sealed]: the clinical part in the clear, and
// what was taken out, with the source row, encrypted under the data key of the patient. Nobody else can make a Sealed,
// and the packages that store and send resources take nothing else. A compiler of mappings asks the policy beforehand
// ([Policy.Rules]) and makes the cuts while it writes; [Sealer.Cut] makes the same cuts for any resource that is there
// as JSON, and [Sealer.SealNode] for any tree.
//
// What always holds is join(clinical, PHI) = whole, in canonical form, whatever was sealed: [Keyring.Whole] joins the
// parts as they were sealed and checks the digest, [Join] joins with what a server made of the clinical part.
//
// In the clinical part nothing stands where a value was taken out, but the extension data-absent-reason `masked` if the
// element is required (extension-data-absent-reason.html); an object or list of which nothing is left goes with it.
// meta.security carries REDACTED then (security-labels.html).
//
// # Keys
//
// The key-encryption key (KEK, package kek) opens the keyring of a migration, which holds the id key and the root keys; the
// newest root wraps one random data key per patient, in a store of wrapped keys (package keystore): see [Keyring]. Rotating
// adds a root key ([RotateKeys]); shredding destroys a patient's key for good ([Keyring.Shred]). Everything is of Go's
// standard library and works under GODEBUG=fips140=only: AES-256-GCM with random nonces, HKDF and HMAC with SHA-256. The
// additional data of a PHI part binds migration, type, id, key and content digest, so that a part that was swapped, aged
// or damaged is refused by name.
//
// Types that hold PHI or keys print as [redacted] under every verb of fmt, as JSON, and in zap.
package phi
