// Package core is the C library behind the Go package epp: cgo compiles the sources in this folder.
//
// It exports nothing to Go. Costs must come out bit for bit as in every other build of the core, so no
// multiplication may be fused with an addition: with GCC the ISO mode asks for that (the flag itself,
// -ffp-contract, is not among those that cgo lets a package set), with clang a pragma in exact.h.
package core

/*
#cgo CFLAGS: -std=c11 -O3 -fvisibility=hidden -I${SRCDIR}/../include
#cgo LDFLAGS: -pthread -lm
*/
import "C"

import _ "github.com/llm-endpoint-picker/epp/cabi/include" // what the sources include
