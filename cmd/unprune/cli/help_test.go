package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/unprune/unprune/unprune/unlearn"
)

// TestHelp reads the help text of every command: it must say what the command
// does, and no line may be too long for a terminal.
func TestHelp(t *testing.T) {
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		t.Run(cmd.CommandPath(), func(t *testing.T) {
			if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
				t.Errorf("short description %q: want one without a full stop", cmd.Short)
			}
			var out bytes.Buffer
			args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
			if code := run(t.Context(), args, &out, &out); code != exitDone {
				t.Fatalf("exit code %d: %s", code, &out)
			}
			for line := range strings.SplitSeq(out.String(), "\n") {
				if n := len([]rune(line)); n > 115 {
					t.Errorf("%d characters: %s", n, line)
				}
			}
		})
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(newApp(&bytes.Buffer{}, &bytes.Buffer{}).root())
}

func TestUnlearnersAreExplained(t *testing.T) {
	for _, u := range unlearn.All() {
		if i := u.Info(); i.About == "" || i.Good == "" || i.Cost == "" || i.Source == "" {
			t.Errorf("--unlearner list says too little about %s: %+v", u.Name(), i)
		}
	}
}
