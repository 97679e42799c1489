//go:build cgo

package ort

import (
	"strings"
	"testing"
)

// TestOpenErrors runs as if no library were open, as often none is yet; failing
// to open one changes nothing.
func TestOpenErrors(t *testing.T) {
	opened.Lock()
	saved := opened.lib
	opened.lib = Library{}
	opened.Unlock()
	defer func() {
		opened.Lock()
		opened.lib = saved
		opened.Unlock()
	}()

	file := write(t, t.TempDir(), "libonnxruntime.so")
	tests := []struct {
		name string
		lib  Library
		want string
	}{
		{"relative", Library{Path: "libonnxruntime.so"}, "want the absolute path"},
		{"nothing", Library{}, "want the absolute path"},
		{"absent", Library{Path: file + ".1"}, "ort: open: "},
		{"too old", Library{Path: file, Version: "1.9.2"}, "is ONNX Runtime 1.9.2; want " + MinVersion + " or newer"},
	}
	if saved.Path == "" { // the binding loads one library only
		tests = append(tests, struct {
			name string
			lib  Library
			want string
		}{"no library", Library{Path: file}, "is not an ONNX Runtime " + MinVersion + " or newer"})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := Open(tt.lib); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	if lib, ok := Opened(); ok || lib != (Library{}) {
		t.Errorf("opened %+v", lib)
	}
}
