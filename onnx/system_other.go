//go:build !unix

package onnx

import "io/fs"

const openFlags = 0

// hasOtherNames is not known on this system.
func hasOtherNames(fs.FileInfo) bool { return false }

// syncFolder has no counterpart on this system.
func syncFolder(string) error { return nil }
