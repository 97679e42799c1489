//go:build unix

package onnx

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A pipe must be refused without waiting for someone to write into it.
func TestReadExternalRefusesPipe(t *testing.T) {
	folder := t.TempDir()
	require(t, syscall.Mkfifo(filepath.Join(folder, "w"), 0o666))
	path := writeModel(t, folder, "location", "w")
	done := make(chan error)
	go func() {
		_, err := Read(path)
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), `"w" is not a plain file but a named pipe`) {
			t.Errorf("error %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("blocked on the pipe")
	}
}
