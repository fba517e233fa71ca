package run

import "github.com/chartlift/chartlift/pipeline/internal/crash"

// CrashVariable is the environment variable that makes this program kill itself at a point: a test facility, see
// package crash.
const CrashVariable = crash.Variable

// CrashPoints lists the points that CrashVariable can name, sorted. Behind a point may stand `:n`, for the n-th time.
func CrashPoints() []string {
	var names []string
	for _, p := range crash.Points() {
		names = append(names, string(p))
	}
	return names
}
