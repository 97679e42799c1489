package cli

import (
	"context"

	"github.com/spf13/cobra"
)

func completionCommand(a *app) *cobra.Command {
	cmd := a.command(spec{
		use: "completion SHELL", group: groupFiles, min: 1, max: 1,
		short: "Print a completion script for bash, zsh, fish or powershell",
		long: `Completion prints a script that teaches a shell the commands and flags.

  bash:  source <(unprune completion bash)
  zsh:   unprune completion zsh > "${fpath[1]}/_unprune"
  fish:  unprune completion fish | source`,
		run: func(_ context.Context, args []string) error {
			root := a.ran.cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.stdout, true)
			case "zsh":
				return root.GenZshCompletion(a.stdout)
			case "fish":
				return root.GenFishCompletion(a.stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.stdout)
			}
			return usagef("completion: no script for shell %q; there are bash, zsh, fish and powershell", args[0])
		},
	})
	cmd.ValidArgs = []string{"bash", "zsh", "fish", "powershell"}
	return cmd
}
