package request

/*
#cgo CFLAGS: -std=gnu11 -I${SRCDIR}/../../include
#cgo linux LDFLAGS: -ldl
#include <stdlib.h>
#include "load.h"

#if EPP_REQUEST_ABI_VERSION != 1
#error "epp_request.h is of another ABI version than this Go package"
#endif
*/
import "C"

import (
	"fmt"
	"os"
	"sync"
	"unsafe"

	_ "github.com/llm-endpoint-picker/epp/cabi/include" // vendoring keeps the header
)

// ABIVersion is the version of the C contract this package is written for. Load refuses another.
const ABIVersion = 1

const (
	libraryVariable = "EPP_REQUEST_LIBRARY"
	libraryName     = "libepp_request.so.1"
)

var loading sync.Mutex

// Load loads libepp_request from a path or by a name; empty: as the package comment says. Open does it when the program
// has not. Once it was loaded, Load does nothing. Errors: ErrLibrary.
func Load(path string) error {
	loading.Lock()
	defer loading.Unlock()
	if path == "" {
		path = os.Getenv(libraryVariable)
	}
	if path == "" {
		path = libraryName
	}
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	if problem := C.epp_go_load(name); problem != nil {
		detail := fmt.Sprintf("%s; %s names it", C.GoString(problem), libraryVariable)
		return &Error{Op: "Load", Status: ErrLibrary, Detail: detail}
	}
	if running := C.epp_go_abi_version(); running != ABIVersion {
		detail := fmt.Sprintf("%s has ABI version %d, this package is for %d", path, running, ABIVersion)
		return &Error{Op: "Load", Status: ErrLibrary, Detail: detail}
	}
	return nil
}
