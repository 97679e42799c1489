//go:build !cgo

package ort_test

import (
	"context"
	"errors"
	"testing"

	"github.com/unprune/unprune/graph/ort"
)

func TestWithoutCgo(t *testing.T) {
	s, newErr := ort.NewSession(nil, ort.Options{})
	if s != nil {
		t.Error("a session without cgo")
	}
	_, runErr := s.Run(context.Background(), nil)
	for _, err := range []error{ort.Open(ort.Library{}), newErr, ort.LoadFile("", ort.Options{}), runErr, s.RunInto(context.Background(), nil, nil)} {
		if !errors.Is(err, ort.ErrNoCgo) {
			t.Errorf("error %v, want ErrNoCgo", err)
		}
	}
}
