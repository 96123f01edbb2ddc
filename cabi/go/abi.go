package epp

/*
#cgo CFLAGS: -std=c11 -I${SRCDIR}/../include
#include "epp.h"

#if EPP_ABI_VERSION != 1
#error "epp.h is of another ABI version than this Go package"
#endif
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "token slices are read where they lie, as little-endian u32: little-endian hosts only"
#endif
*/
import "C"

import (
	"fmt"

	_ "github.com/llm-endpoint-picker/epp/cabi/include" // compile this package anew when the header changes
	_ "github.com/llm-endpoint-picker/epp/cabi/src"     // the library
)

// ABIVersion is the version of the C contract this package is written for. NewRouter refuses another.
const ABIVersion = 1

func checkABI(running uint32) error {
	if running == ABIVersion {
		return nil
	}
	return &Error{
		Op: "NewRouter", Status: ErrABI,
		Detail: fmt.Sprintf("it has %d, this package is for %d", running, ABIVersion),
	}
}
