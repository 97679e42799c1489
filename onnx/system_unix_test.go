//go:build unix

package onnx

import (
	"errors"
	"os"
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

// A device could block, or have no end.
func TestReadExternalRefusesDevice(t *testing.T) {
	folder := t.TempDir()
	const null = 1<<8 | 3 // the numbers of /dev/null on Linux
	if err := syscall.Mknod(filepath.Join(folder, "w"), syscall.S_IFCHR|0o666, null); err != nil {
		t.Skipf("SKIPPED: making a device takes privileges: %v", err)
	}
	_, err := Read(writeModel(t, folder, "location", "w"))
	if err == nil || !strings.Contains(err.Error(), `"w" is not a plain file but a device`) {
		t.Errorf("error %v", err)
	}
}

// Whoever exchanges the file for a link while it is opened gains nothing.
func TestReadExternalWhileExchanged(t *testing.T) {
	folder, elsewhere := t.TempDir(), t.TempDir()
	path := writeModel(t, folder, "location", "w")
	secret, w := filepath.Join(elsewhere, "secret"), filepath.Join(folder, "w")
	writeBytes(t, secret, []byte("8 secret"))
	writeBytes(t, w, eight)
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			link, plain := filepath.Join(folder, "link"), filepath.Join(folder, "plain")
			err := errors.Join(os.Symlink(secret, link), os.Rename(link, w), os.WriteFile(plain, eight, 0o600), os.Rename(plain, w))
			if err != nil {
				done <- err
				return
			}
		}
	}()
	read := 0
	for range 500 {
		m, err := Read(path)
		if err != nil {
			requireTyped(t, err)
			continue
		}
		read++
		if got := rawBytes(m.Graph.Initializers[0].Data); string(got) != string(eight) {
			t.Fatalf("read %q from outside the folder", got)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Logf("%d of 500 reads met the plain file", read)
}
