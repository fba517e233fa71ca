// Package filelock keeps two processes off one file.
//
// The lock belongs to the open file: closing it gives the lock back, and so does the system the moment the process dies,
// however it dies. Nothing is ever left behind that somebody would have to remove. It is advice: only those who ask for
// the lock are kept away, and anyone can read the file while it is held.
//
// It is ours and not github.com/gofrs/flock because that opens the file itself, and on Windows locks the first byte,
// which nobody else can read then.
package filelock
