package epp

import (
	"errors"
	"strings"
	"testing"
)

func TestAnotherABIIsRefused(t *testing.T) {
	if err := checkABI(ABIVersion); err != nil {
		t.Fatal(err)
	}
	err := checkABI(ABIVersion + 1)
	if !errors.Is(err, ErrABI) || !strings.Contains(err.Error(), "it has 2, this package is for 1") {
		t.Fatalf("got %v", err)
	}
}
