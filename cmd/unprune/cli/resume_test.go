package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestResume interrupts a retraining as soon as it has written some
// checkpoints, goes on from them, and wants the bytes that a run without an
// interruption gives. Each interruption is a process of its own to the
// command: nothing but files is carried over.
func TestResume(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED in short mode: trains on ten thousand images")
	}
	base := []string{
		"retrain", "lenet-300-100", "--initial", "lenet-300-100/theta0", "--train", "fashion-mnist",
		"--forget", "class:0", "--epochs", "6", "--tune-epochs", "2", "--no-verify", "--quiet",
	}
	dir := t.TempDir()
	whole, resumed := filepath.Join(dir, "whole.onnx"), filepath.Join(dir, "resumed.onnx")
	var stderr bytes.Buffer
	if code := run(t.Context(), slices.Concat(base, []string{"-o", whole}), &stderr, &stderr); code != exitDone {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	args := slices.Concat(base, []string{"-o", resumed, "--resume", "--checkpoint-every", "0s"})
	interrupted := 0
	for want := 1; ; want++ {
		ctx, cancel := context.WithCancel(t.Context())
		go cancelAfter(ctx, cancel, filepath.Join(dir, "resumed.resume"), want)
		stderr.Reset()
		code := run(ctx, args, &stderr, &stderr)
		cancel()
		if code == exitDone {
			break
		}
		if interrupted++; interrupted > 20 {
			t.Fatalf("it does not get on: %s", &stderr)
		}
		if _, err := os.Stat(resumed); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("an interrupted run left an output: %v", err)
		}
	}
	if interrupted == 0 {
		t.Error("no run was interrupted; this test shows nothing")
	}
	if !sameBytes(t, whole, resumed) {
		t.Errorf("resumed after %d interruptions, the model differs", interrupted)
	}
	if _, err := os.Stat(filepath.Join(dir, "resumed.resume")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the checkpoints were left behind: %v", err)
	}
}

// cancelAfter cancels when the folder's files have changed so many times.
func cancelAfter(ctx context.Context, cancel func(), folder string, changes int) {
	var last time.Time
	for ctx.Err() == nil {
		files, _ := filepath.Glob(filepath.Join(folder, "*.npz"))
		for _, f := range files {
			if info, err := os.Stat(f); err == nil && info.ModTime().After(last) {
				last = info.ModTime()
				changes--
			}
		}
		if changes < 0 {
			cancel()
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func sameBytes(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(x, y)
}
