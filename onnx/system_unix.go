//go:build unix

package onnx

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// openFlags keeps opening from waiting, should a pipe take the file's place.
const openFlags = syscall.O_NONBLOCK | syscall.O_NOFOLLOW

// hasOtherNames reports whether the file has hard links.
func hasOtherNames(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return !ok || stat.Nlink > 1
}

// syncFolder makes new names in a folder durable.
func syncFolder(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("onnx: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("onnx: %w", err)
	}
	return nil
}
