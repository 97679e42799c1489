package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/train"
)

// app is one invocation: the flags that all commands share, and what commands
// print and compute with.
type app struct {
	stdout, stderr io.Writer
	own            []unprune.Unlearner // that the program offers beside those of package unlearn

	seed     uint64
	threads  int
	plain    bool           // no Winograd transforms
	dim      []string       // as given
	dims     map[string]int // extents of dynamic axes by name
	imports  pass.Options   // how models are imported
	quiet    bool
	json     bool
	logLevel string
	config   string
	ortPath  string

	log       *slog.Logger
	library   *library  // ONNX Runtime, once looked for
	noRuntime sync.Once // to say why there is none
	bars      *bars
	teams     []*kernel.Team
	ran       *ran // the command being run, for its run file
}

func newApp(stdout, stderr io.Writer, own ...unprune.Unlearner) *app {
	return &app{stdout: stdout, stderr: stderr, own: own, log: slog.New(slog.DiscardHandler)}
}

// close ends what the invocation started.
func (a *app) close() {
	a.bars.close()
	for _, t := range a.teams {
		t.Close()
	}
}

// The groups of commands in the help text.
const (
	groupJob   = "job"
	groupMake  = "make"
	groupLook  = "look"
	groupFiles = "files"
)

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "unprune",
		Short: "Make a pruned network forget training data, its pruning mask included",
		Long: `unprune makes a deployed, pruned neural network forget training data, its
pruning mask included, without Python: an ONNX file goes in, an ONNX file comes
out, and ONNX Runtime confirms what was made.

Start with "unprune demo", which does the whole job on data and networks that
the program carries. Then, on your own model:

  unprune inspect model.onnx
  unprune run model.onnx --initial theta0.onnx --train train.npz --test test.npz \
      --forget class:3 --epochs 10 --lr 0.05 -o forgotten.onnx --report report.html

Wherever a MODEL is wanted, lenet-300-100 and lenet-5 name the embedded pruned
networks, with /dense and /theta0 behind the name their earlier stages; wherever
data is wanted, fashion-mnist names the embedded images.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a check of the result did not hold.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("there is no command %q; \"unprune help\" lists them", args[0])
			}
			return cmd.Help()
		},
		Args: cobra.ArbitraryArgs,
	}
	cobra.EnableCommandSorting = false // in the order of a day's work
	f := root.PersistentFlags()
	f.Uint64Var(&a.seed, "seed", 0, "seed of everything random; equal seeds give equal bytes")
	f.IntVar(&a.threads, "threads", 0, "threads to compute with; results do not depend on it (default: one per core)")
	f.BoolVar(&a.plain, "no-winograd", false, "compute 3 by 3 convolutions as plain sums: slower, but rounding less")
	f.StringSliceVar(&a.dim, "dim", nil, "extent of a dynamic axis beyond the batch, as `name=extent` with the model's name for it")
	f.BoolVar(&a.imports.KeepTied, "keep-tied", false, "leave equal initializers that the file has once one parameter (default: one per use)")
	f.BoolVar(&a.imports.KeepExpressions, "keep-expressions", false, "train what weights are computed from (weight normalisation), not the weights")
	f.StringSliceVar(&a.imports.Train, "trainable", nil, "`names` of parameters to train although the import would not, or patterns with * and ?")
	f.StringSliceVar(&a.imports.Freeze, "freeze", nil, "`parameters` that are neither trained nor pruned: names, patterns with * and ?")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "print results and errors only")
	f.BoolVar(&a.json, "json", false, "print results as JSON on standard output, and nothing else there")
	f.StringVar(&a.logLevel, "log-level", "info", "how much to tell on standard error: debug, info, warn or error")
	f.StringVar(&a.config, "config", "", "YAML run `file` with any of the flags; flags given here go before it")
	f.StringVar(&a.ortPath, "ort", "", "ONNX Runtime library `file` or its folder (default: searched for, see \"unprune runtime\")")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddGroup(
		&cobra.Group{ID: groupJob, Title: "Forgetting:"},
		&cobra.Group{ID: groupMake, Title: "Making what is to forget:"},
		&cobra.Group{ID: groupLook, Title: "Looking and checking:"},
		&cobra.Group{ID: groupFiles, Title: "Files and the program itself:"},
	)
	root.SetHelpCommandGroupID(groupFiles)
	for _, make := range []func(*app) *cobra.Command{
		demoCommand, runCommand, unlearnCommand, retrainCommand,
		trainCommand, pruneCommand,
		evalCommand, compareCommand, inspectCommand, inferCommand, verifyCommand, maskCommand, benchCommand, studyCommand, attackCommand, instabilityCommand, boundCommand, certificateCommand,
		convertCommand, gradientCommand, runtimeCommand, versionCommand, completionCommand,
	} {
		root.AddCommand(make(a))
	}
	return root
}

// A spec describes a command.
type spec struct {
	use, group, short, long, example string
	min, max                         int // arguments; max < 0: any number
	flags                            func(*pflag.FlagSet)
	sections                         []section // more flags, under headings of their own
	run                              func(ctx context.Context, args []string) error
}

// A section is a group of flags in the help text.
type section struct {
	title string
	add   func(*pflag.FlagSet)
}

// command makes a command. Its arguments are counted after the run file was
// read, which may hold them.
func (a *app) command(s spec) *cobra.Command {
	cmd := &cobra.Command{
		Use: s.use, GroupID: s.group, Short: s.short, Long: s.long, Example: s.example,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			args, err := a.begin(cmd, args)
			if err != nil {
				return err
			}
			if len(args) < s.min || s.max >= 0 && len(args) > s.max {
				return usagef("%s: %s; usage: %s", cmd.Name(), countArgs(len(args), s.min, s.max), cmd.UseLine())
			}
			return s.run(cmd.Context(), args)
		},
	}
	cmd.Flags().SortFlags = false
	sections := s.sections
	if s.flags != nil {
		sections = append([]section{{"Flags", s.flags}}, sections...)
	}
	var sets []*pflag.FlagSet
	for _, sec := range sections {
		set := pflag.NewFlagSet(sec.title, pflag.ContinueOnError)
		set.SortFlags = false
		sec.add(set)
		cmd.Flags().AddFlagSet(set)
		sets = append(sets, set)
	}
	cmd.SetUsageFunc(func(cmd *cobra.Command) error {
		_, err := io.WriteString(cmd.OutOrStderr(), usage(cmd, sets))
		return err
	})
	return cmd
}

// usage is a command's usage with its flags in sections.
func usage(cmd *cobra.Command, sets []*pflag.FlagSet) string {
	const width = 110
	var b strings.Builder
	fmt.Fprintf(&b, "Usage:\n  %s\n", cmd.UseLine())
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\nCommands:\n")
		for _, sub := range cmd.Commands() {
			fmt.Fprintf(&b, "  %-10s %s\n", sub.Name(), sub.Short)
		}
	}
	if cmd.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	for _, set := range sets {
		fmt.Fprintf(&b, "\n%s:\n%s", set.Name(), set.FlagUsagesWrapped(width))
	}
	fmt.Fprintf(&b, "\nFor all commands:\n%s", cmd.InheritedFlags().FlagUsagesWrapped(width))
	return b.String()
}

func countArgs(have, min, max int) string {
	want := fmt.Sprint(min)
	switch {
	case max < 0:
		want = fmt.Sprintf("at least %d", min)
	case max > min:
		want = fmt.Sprintf("%d to %d", min, max)
	}
	return fmt.Sprintf("%d arguments given, want %s", have, want)
}

// begin reads the run file and sets up logging.
func (a *app) begin(cmd *cobra.Command, args []string) ([]string, error) {
	args, err := a.readRunFile(cmd, args)
	if err != nil {
		return nil, err
	}
	a.ran = &ran{cmd: cmd, args: args}
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
		return nil, usagef("--log-level %q: want debug, info, warn or error", a.logLevel)
	}
	if a.quiet {
		level = slog.LevelError
	}
	if err := a.readDims(); err != nil {
		return nil, err
	}
	if a.threads < 0 {
		return nil, usagef("--threads %d: want a positive number, or 0 for one per core", a.threads)
	}
	if a.threads == 0 {
		a.threads = runtime.GOMAXPROCS(0)
	}
	a.bars = newBars(a.stderr, a.quiet)
	a.log = slog.New(&lineHandler{w: a.bars.writer(), level: level})
	return args, nil
}

// readDims reads the values of --dim.
func (a *app) readDims() error {
	a.dims = map[string]int{}
	for _, d := range a.dim {
		name, extent, _ := strings.Cut(d, "=")
		n, err := strconv.Atoi(extent)
		if err != nil || n < 1 || name == "" {
			return usagef("--dim %s: want name=extent, such as sequence=128", d)
		}
		a.dims[name] = n
	}
	a.imports.Dims = a.dims
	return nil
}

// team is a team of the given number of threads, which lives as long as the
// program.
func (a *app) team(threads int) *kernel.Team {
	t := kernel.NewTeam(threads)
	a.teams = append(a.teams, t)
	return t
}

// compiler is the native executor as the engine wants it.
func (a *app) compiler(threads int) train.Compile {
	team := a.team(threads)
	return func(g *graph.Graph, state map[string]*onnx.Tensor, into map[string]string) (train.Program, error) {
		p, err := exec.Compile(g, exec.Options{Team: team, State: state, Into: into, Winograd: a.winograd()})
		if err != nil {
			return nil, err
		}
		return p, nil
	}
}

// winograd says where convolutions may use Winograd's transforms.
func (a *app) winograd() kernel.Winograd {
	if a.plain {
		return kernel.WinogradNever
	}
	return kernel.WinogradWherePays
}

// warn passes a warning of the library on.
func (a *app) warn(s string) { a.log.Warn(s) }

// print writes a result: as JSON when that was asked for, otherwise as text.
func (a *app) print(result any, text func(w io.Writer)) error {
	a.bars.close()
	if !a.json {
		text(a.stdout)
		return nil
	}
	b, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return fmt.Errorf("the result cannot be written as JSON: %w", err)
	}
	_, err = fmt.Fprintf(a.stdout, "%s\n", b)
	return err
}
