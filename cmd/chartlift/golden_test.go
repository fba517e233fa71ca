package main

import "flag"

// update makes the tests rewrite what they compare with: `make golden`.
var update = flag.Bool("update", false, "rewrite the expected files")
