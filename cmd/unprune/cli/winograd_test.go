package cli

import (
	"bytes"
	"testing"

	"github.com/unprune/unprune/graph/kernel"
)

// TestNoWinograd: the flag reaches what programs are compiled with.
func TestNoWinograd(t *testing.T) {
	for flag, want := range map[string]kernel.Winograd{"": kernel.WinogradWherePays, "--no-winograd": kernel.WinogradNever} {
		a := newApp(&bytes.Buffer{}, &bytes.Buffer{})
		root := a.root()
		args := []string{"version"}
		if flag != "" {
			args = append(args, flag)
		}
		root.SetArgs(args)
		if err := root.Execute(); err != nil {
			t.Fatal(err)
		}
		if got := a.winograd(); got != want {
			t.Errorf("with %q: %v, want %v", flag, got, want)
		}
	}
}
