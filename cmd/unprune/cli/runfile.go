package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// A run file is YAML: the command, its arguments, and its flags by name.
//
//	command: run
//	args: [model.onnx]
//	flags:
//	  train: train.npz
//	  seed: 7
//
// Every command that writes outputs writes one beside them; giving it back as
// --config repeats the run to the bit.
type runFile struct {
	Command string               `yaml:"command"`
	Args    []string             `yaml:"args,flow,omitempty"`
	Flags   map[string]yaml.Node `yaml:"flags"`
}

// ran is the command being run, with the arguments in effect.
type ran struct {
	cmd  *cobra.Command
	args []string
	file string // the run file, once it was written
}

// unrecorded flags have no influence on what is computed.
var unrecorded = []string{"help", "config", "quiet", "json", "log-level", "threads", "ort", "resume", "checkpoint-every"}

// commandName is a command's name without the program's: "mask diff".
func commandName(cmd *cobra.Command) string {
	return strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
}

// readRunFile sets the flags that the run file of --config holds and that were
// not given, and returns the arguments in effect.
func (a *app) readRunFile(cmd *cobra.Command, args []string) ([]string, error) {
	if a.config == "" {
		return args, nil
	}
	rf, err := parseRunFile(a.config)
	if err != nil {
		return nil, err
	}
	if rf.Command != "" && rf.Command != commandName(cmd) {
		return nil, usagef("run file %s is for \"unprune %s\", not for %q", a.config, rf.Command, commandName(cmd))
	}
	for name, node := range rf.Flags {
		if err := setFromFile(cmd.Flags(), name, node); err != nil {
			return nil, usagef("run file %s, line %d: %w", a.config, node.Line, err)
		}
	}
	if len(args) == 0 {
		args = rf.Args
	}
	return args, nil
}

// parseRunFile reads a run file.
func parseRunFile(path string) (rf runFile, err error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return rf, fmt.Errorf("run file %s: there is no such file", path)
	}
	if err != nil {
		return rf, fmt.Errorf("run file: %w", err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(&rf); err != nil && !errors.Is(err, io.EOF) {
		return rf, usagef("run file %s: %w", path, err)
	}
	return rf, nil
}

// setFromFile sets one flag unless the command line did.
func setFromFile(flags *pflag.FlagSet, name string, node yaml.Node) error {
	f := flags.Lookup(name)
	if f == nil {
		return fmt.Errorf("there is no flag --%s", name)
	}
	if f.Changed {
		return nil
	}
	values := []*yaml.Node{&node}
	if node.Kind == yaml.SequenceNode {
		values = node.Content
	}
	for _, v := range values {
		if v.Kind != yaml.ScalarNode {
			return fmt.Errorf("flag --%s: want a plain value or a list of them", name)
		}
		if err := flags.Set(name, v.Value); err != nil {
			return fmt.Errorf("flag --%s: %w", name, err)
		}
	}
	return nil
}

// writeRunFile writes the effective run file to path.
func (a *app) writeRunFile(path string) error {
	text, err := a.runFileText(filepath.Base(path))
	if err != nil {
		return err
	}
	a.ran.file = path
	return writeFile(path, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// runFileText is the effective run file, to be stored under a name.
func (a *app) runFileText(name string) ([]byte, error) {
	rf := runFile{Command: commandName(a.ran.cmd), Args: a.ran.args, Flags: map[string]yaml.Node{}}
	var failed error
	a.ran.cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if slices.Contains(unrecorded, f.Name) {
			return
		}
		var node yaml.Node
		var err error
		if list, ok := f.Value.(pflag.SliceValue); ok {
			err = node.Encode(list.GetSlice())
		} else if err = yaml.Unmarshal([]byte(yamlScalar(f)), &node); err == nil && node.Kind == yaml.DocumentNode {
			node = *node.Content[0]
		}
		failed = errors.Join(failed, err)
		rf.Flags[f.Name] = node
	})
	if failed != nil {
		return nil, fmt.Errorf("run file: %w", failed)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Repeat with: unprune %s --config %s\n# Made by %s\n", rf.Command, name, versionLine())
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(rf), enc.Close()); err != nil {
		return nil, fmt.Errorf("run file: %w", err)
	}
	return b.Bytes(), nil
}

// yamlScalar is a flag's value as YAML: numbers and truth values bare, text
// quoted.
func yamlScalar(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "bool", "int", "uint64", "float64":
		return f.Value.String()
	}
	return fmt.Sprintf("%q", f.Value.String())
}

// runFileBeside is where the run file of an output belongs: next to a file,
// inside a folder.
func runFileBeside(output string) string {
	if info, err := os.Stat(output); err == nil && info.IsDir() {
		return filepath.Join(output, "run.yaml")
	}
	return strings.TrimSuffix(output, filepath.Ext(output)) + ".run.yaml"
}
