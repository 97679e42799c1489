package onnx

import (
	"bytes"
	"os"
	"testing"
)

// FuzzDecode checks that no file makes the reader panic, and that what decodes
// encodes and decodes to the same, as it does when the elements are lifted.
func FuzzDecode(f *testing.F) {
	for _, path := range fixtures(f) {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b, nil)
		requireLiftedAlike(t, b, m, err)
		if err != nil {
			requireTyped(t, err)
			return
		}
		Check(m) // must not panic
		first := mustEncode(t, m)
		again, err := Decode(first, nil)
		if err != nil {
			t.Fatalf("decodes once but not twice: %v", err)
		}
		if second := mustEncode(t, again); !bytes.Equal(first, second) {
			t.Fatal("the second encoding differs from the first")
		}
		if Text(again) != Text(m) {
			t.Fatalf("text differs:\n%s\n%s", Text(m), Text(again))
		}
	})
}
