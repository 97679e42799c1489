//go:build !cgo

package ort

import (
	"context"

	"github.com/unprune/unprune/onnx"
)

// Open returns [ErrNoCgo].
func Open(Library) error { return ErrNoCgo }

// Opened reports that no library is in use.
func Opened() (Library, bool) { return Library{}, false }

// Session stands for a loaded model; without cgo there is none.
type Session struct{}

// NewSession returns [ErrNoCgo].
func NewSession([]byte, Options) (*Session, error) { return nil, ErrNoCgo }

// LoadFile returns [ErrNoCgo].
func LoadFile(string, Options) error { return ErrNoCgo }

// Inputs returns nothing.
func (*Session) Inputs() []Info { return nil }

// Outputs returns nothing.
func (*Session) Outputs() []Info { return nil }

// Close does nothing.
func (*Session) Close() error { return nil }

// Run returns [ErrNoCgo].
func (*Session) Run(context.Context, map[string]*onnx.Tensor) (map[string]*onnx.Tensor, error) {
	return nil, ErrNoCgo
}

// RunInto returns [ErrNoCgo].
func (*Session) RunInto(context.Context, map[string]*onnx.Tensor, map[string]*onnx.Tensor) error {
	return ErrNoCgo
}
