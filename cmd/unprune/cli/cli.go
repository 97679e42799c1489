// Package cli is the command unprune as a package, so that a program of one's own
// can add unlearners to it:
//
//	func main() { os.Exit(cli.Main(os.Args[1:], &mine{})) }
//
// There is one file per command. A command parses its flags into a struct of
// options and hands it to a function that does the work with the library's
// packages; everything else in this folder is what several commands share.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/unprune/unprune/unprune"
)

// Exit codes. Scripts rely on them.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitBroken  = 3 // a verification or a promised check did not hold
	bugReportAt = "https://github.com/unprune/unprune/issues"
)

// Main runs the command with arguments, the program's name left out, and
// returns the exit code. Unlearners of one's own, under names that no other
// has, can be chosen and are explained wherever those of package unlearn are;
// one that is an unlearn.Method can have options.
func Main(args []string, own ...unprune.Unlearner) (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	// What is large are tensors, into which the collector need not look. Letting
	// garbage grow to the size of what is in use, as by default, would buy nothing.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(15)
	}
	return run(ctx, args, os.Stdout, os.Stderr, own...)
}

// run is the whole program; it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, own ...unprune.Unlearner) (code int) {
	a := newApp(stdout, stderr, own...)
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(stderr, "unprune: this should not happen and is a bug in unprune, sorry: %v; please report it with the command and this trace at %s\n%s", r, bugReportAt, debug.Stack())
			code = exitFailed
		}
	}()
	if err := a.checkOwn(); err != nil {
		fmt.Fprintf(stderr, "unprune: %s\n", sentence(err))
		return exitFailed
	}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	a.close()
	if err == nil {
		return exitDone
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted; no output was left half written")
	}
	fmt.Fprintf(stderr, "unprune: %s\n", sentence(err))
	return exitCode(err)
}

// A usageError says that the command was called wrongly.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// A brokenError says that a check of the result did not hold.
type brokenError struct{ error }

func (e brokenError) Unwrap() error { return e.error }

func brokenf(format string, args ...any) error { return brokenError{fmt.Errorf(format, args...)} }

func exitCode(err error) int {
	var usage usageError
	var broken brokenError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &broken):
		return exitBroken
	}
	return exitFailed
}

// packagePrefix is what our packages begin their errors with.
var packagePrefix = regexp.MustCompile(`(^|: )(onnx|npz|graph|ops|pass|autodiff|exec|ort|sparsity|data|train|unlearn|unprune|study|bound|evalmetrics): `)

// sentence is an error as one line for people: joined errors are strung
// together, and which package speaks is left out.
func sentence(err error) string {
	var parts []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		line = packagePrefix.ReplaceAllString(strings.TrimSpace(line), "$1")
		if line != "" {
			parts = append(parts, line)
		}
	}
	return strings.Join(parts, "; ")
}
