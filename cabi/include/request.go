package include

import _ "embed" // for go:embed

// RequestHeader is the text of epp_request.h.
//
//go:embed epp_request.h
var RequestHeader string
