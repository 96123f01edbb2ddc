// Package include carries epp.h, the contract of the native core, to where Go compiles it.
//
// A folder that is a package is kept by `go mod vendor` and by module zips. Embedding the header makes it part of
// this package's build identity: whoever imports the package is compiled anew when the header changes, which
// Go's build cache does not see through a C include path alone.
package include

import _ "embed" // for go:embed

// Header is the text of epp.h.
//
//go:embed epp.h
var Header string
