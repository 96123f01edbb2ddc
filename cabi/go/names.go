package epp

import "fmt"

// name is the text of an enumeration's value.
func name[T ~uint32](kind string, value T, names ...string) string {
	if int64(value) < int64(len(names)) {
		return names[value]
	}
	return fmt.Sprintf("%s(%d)", kind, uint32(value))
}
